import FoundationEssentials
import HTTP

/// Answers the opening handshake, RFC 6455 §4.2.
///
/// A browser lets any page open a WebSocket to any server, with no rule of the same origin. So a request that carries
/// an `Origin` must come from a page of this very server, or of one that the configuration allows. Programs send none.
struct WebSocketHandshake {
    /// Origins besides the server's own, such as `https://dashboard.example.org`.
    let allowedOrigins: [String]

    func answer(_ request: Request) -> Response {
        guard request.method == .get else { return .allowing([.get], for: request.method) }
        guard !request.isHTTP10, request.lists("websocket", in: "Upgrade"),
            request.lists("upgrade", in: "Connection")
        else { return upgradeRequired("this is a WebSocket") }
        guard request.headers("Sec-WebSocket-Version") == ["13"] else {
            return upgradeRequired("the version must be 13")
        }
        let keys = request.headers("Sec-WebSocket-Key")
        guard keys.count == 1, Data(base64Encoded: keys[0])?.count == 16 else {
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

    /// What proves to the client that its key was read: RFC 6455 §4.2.2, item 5.4.
    static func acceptance(of key: String) -> String {
        let joined = key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        return Data(Digest.sha1(Array(joined.utf8))).base64EncodedString()
    }

    /// An origin is serialized in lower case and without a default port (RFC 6454 §6.2), as the Host field of a browser is.
    private func isAllowed(_ origins: [String], host: String) -> Bool {
        guard let origin = origins.first else { return true }
        guard origins.count == 1 else { return false }
        let own = ["http://", "https://"].map { $0 + host.lowercased() }
        return own.contains(origin) || allowedOrigins.contains(origin)
    }

    /// RFC 9110 §15.5.22 wants the protocol named, RFC 6455 §4.4 its version.
    private func upgradeRequired(_ reason: String) -> Response {
        var response = Response.text(.upgradeRequired, reason)
        response.headers = [
            ("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Version", "13"),
        ]
        return response
    }
}
