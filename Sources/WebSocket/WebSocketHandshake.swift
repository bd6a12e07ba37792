import CCrypto
package import HTTP

/// Answers the opening handshake, RFC 6455 §4.2.
///
/// Browsers let any page open a WebSocket to any server, without a same-origin policy. So a request with an `Origin`
/// must come from a page of this server, or of one that the configuration allows. Programs send no `Origin`.
package struct WebSocketHandshake: Sendable {
    /// Origins besides the server's own, such as `https://dashboard.example.org`.
    private let allowedOrigins: [String]

    package init(allowedOrigins: [String]) {
        self.allowedOrigins = allowedOrigins
    }

    package func answer(_ request: Request) -> Response {
        guard request.method == .get else { return .allowing([.get], for: request.method) }
        guard !request.isHTTP10, request.lists("websocket", in: "Upgrade"),
            request.lists("upgrade", in: "Connection")
        else { return upgradeRequired("this is a WebSocket") }
        guard request.headers("Sec-WebSocket-Version") == ["13"] else {
            return upgradeRequired("the version must be 13")
        }
        let keys = request.headers("Sec-WebSocket-Key")
        guard keys.count == 1, Self.isKey(keys[0]) else {
            return .text(.badRequest, "Sec-WebSocket-Key must be one of 16 bytes in base64")
        }
        guard isAllowed(request.headers("Origin"), host: request.header("Host") ?? "") else {
            return .text(.forbidden, "pages of this origin may not connect")
        }
        return Response(
            .switchingProtocols,
            headers: [
                ("Upgrade", "websocket"), ("Connection", "Upgrade"),
                ("Sec-WebSocket-Accept", Self.acceptance(of: keys[0])),
            ]
        )
    }

    /// Whether a text is 16 bytes in base64: 22 characters and two of padding.
    private static func isKey(_ text: String) -> Bool {
        text.utf8.count == 24 && text.hasSuffix("==")
            && text.utf8.dropLast(2).allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"), UInt8(ascii: "/"):
                    true
                default: false
                }
            }
    }

    /// The proof that the server has read the key: its SHA-1 with a fixed text, in base64 (RFC 6455 §4.2.2, item 5.4).
    static func acceptance(of key: String) -> String {
        let joined = Array("\(key)258EAFA5-E914-47DA-95CA-C5AB0DC85B11".utf8)
        var digest = [UInt8](repeating: 0, count: Int(SHA_DIGEST_LENGTH))
        _ = unsafe SHA1(joined, joined.count, &digest)
        // Base64 makes 28 characters of 20 bytes, and `EVP_EncodeBlock` appends a zero byte.
        var base64 = [UInt8](repeating: 0, count: 29)
        let length = unsafe EVP_EncodeBlock(&base64, digest, CInt(digest.count))
        return String(decoding: base64.prefix(Int(length)), as: UTF8.self)
    }

    /// An origin is in lower case and without a default port (RFC 6454 §6.2), like a browser's Host field.
    private func isAllowed(_ origins: [String], host: String) -> Bool {
        guard let origin = origins.first else { return true }
        guard origins.count == 1 else { return false }
        let own = ["http://", "https://"].map { $0 + host.lowercased() }
        return own.contains(origin) || allowedOrigins.contains(origin)
    }

    /// Names the protocol (RFC 9110 §15.5.22) and its version (RFC 6455 §4.4).
    private func upgradeRequired(_ reason: String) -> Response {
        var response = Response.text(.upgradeRequired, reason)
        response.headers = [
            ("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13"),
        ]
        return response
    }
}
