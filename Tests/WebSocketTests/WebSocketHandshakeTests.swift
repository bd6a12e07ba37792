import HTTP
import TestSupport
import Testing

@testable import WebSocket

@Suite("WebSocket handshake")
struct WebSocketHandshakeTests {
    private static let good: [(String, String)] = [
        ("Connection", "keep-alive, Upgrade"), ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ]

    /// The answer to a good handshake, but for one field.
    private func answer(
        _ name: String = "",
        _ values: [String] = [],
        method: String = "GET",
        version: String = "1.1",
        allowing origins: [String] = []
    ) throws -> Response {
        var fields = Self.good.filter { $0.0 != name }
        fields += values.map { (name, $0) }
        let lines = fields.map { "\($0): \($1)\r\n" }.joined()
        let head = "\(method) /ws HTTP/\(version)\r\nHost: cam.example:8000\r\n\(lines)\r\n"
        var parser = RequestParser()
        guard case .request(let request, _) = parser.parse(Array(head.utf8).span) else {
            throw CancellationError()
        }
        return WebSocketHandshake(allowedOrigins: origins).answer(request)
    }

    @Test("the example of RFC 6455 §1.3")
    func example() throws {
        let response = try answer()
        #expect(response.status == .switchingProtocols)
        #expect(response.field("Sec-WebSocket-Accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        #expect(response.field("Upgrade") == "websocket")
        #expect(response.field("Connection") == "Upgrade")
    }

    @Test(
        "an incorrect handshake is refused",
        arguments: [
            ("Upgrade", [], 426), ("Upgrade", ["h2c"], 426), ("Upgrade", ["h2c, WebSocket"], 101),
            ("Connection", [], 426), ("Connection", ["close"], 426),
            ("Connection", ["upgrade"], 101), ("Connection", ["upgraded"], 426),
            ("Sec-WebSocket-Version", [], 426), ("Sec-WebSocket-Version", ["8"], 426),
            ("Sec-WebSocket-Version", ["13", "13"], 426), ("Sec-WebSocket-Key", [], 400),
            ("Sec-WebSocket-Key", ["dGhlIHNhbXBsZQ=="], 400),
            ("Sec-WebSocket-Key", ["not base64, but long enough"], 400),
            ("Sec-WebSocket-Key", ["dGhlIHNhbXBsZSBub25jZQ==", "x"], 400),
            ("Sec-WebSocket-Protocol", ["chat"], 101),
            ("Sec-WebSocket-Extensions", ["permessage-deflate"], 101),
        ] as [(String, [String], Int)]
    )
    func letter(_ name: String, _ values: [String], _ status: Int) throws {
        let response = try answer(name, values)
        #expect(response.status.code == status)
        if status == 426 {
            #expect(response.field("Sec-WebSocket-Version") == "13")
            #expect(response.field("Upgrade") == "websocket")
        }
        #expect(response.field("Sec-WebSocket-Extensions") == nil)
    }

    @Test("another method, or HTTP/1.0, is refused")
    func method() throws {
        #expect(try answer(method: "POST").status == .methodNotAllowed)
        #expect(try answer(version: "1.0").status == .upgradeRequired)
    }

    @Test(
        "a page of another origin may not connect, unless it is allowed",
        arguments: [
            (["http://cam.example:8000"], 101), (["https://cam.example:8000"], 101),
            (["https://board.example"], 101), (["http://cam.example"], 403),
            (["http://cam.example:8000.evil.example"], 403), (["https://evil.example"], 403),
            (["null"], 403), ([""], 403),
            (["http://cam.example:8000", "https://evil.example"], 403),
        ] as [([String], Int)]
    )
    func origin(_ origins: [String], _ status: Int) throws {
        let response = try answer("Origin", origins, allowing: ["https://board.example"])
        #expect(response.status.code == status)
    }
}
