import Posix
import Testing

@testable import HTTP

@Suite("Server, content of requests", .timeLimit(.minutes(5)))
struct ServerContentTests {
    @Test("gives the handler all of it")
    func content() throws {
        let served = try Self.echo()
        let body = String(repeating: "0123456789", count: 5000)
        let client = try served.connect(sending: Self.post(length: 50_000) + body + get())
        #expect(try served.reply(to: client)?.text == body)
        #expect(try served.reply(to: client)?.text == "")
    }

    @Test("asks a client that waits for it to go on, once")
    func expectation() throws {
        let served = try Self.echo()
        let client = try served.connect(
            sending: Self.post(length: 3, "Expect: 100-continue\r\n")
        )
        #expect(try served.reply(to: client)?.head == "HTTP/1.1 100 Continue\r\n\r\n")
        for byte in ["a", "b"] {
            client.send(byte)
            try served.turn(for: client)
        }
        #expect(try served.reply(to: client, sending: "c")?.text == "abc")
    }

    @Test("refuses what is too long before it is sent")
    func tooLong() throws {
        let served = try Self.echo()
        let client = try served.connect(
            sending: Self.post(length: 50_001, "Expect: 100-continue\r\n")
        )
        let reply = try #require(try served.reply(to: client))
        #expect(reply.status == 413)
        #expect(reply.closes)
    }

    @Test("delivers the refusal though the client is still sending")
    func draining() throws {
        let served = try Served()
        let client = try served.connect(sending: Self.post(length: 1 << 20))
        let block = [UInt8](repeating: 7, count: 1 << 14)
        for _ in 0..<8 {
            _ = client.socket.send(block.span)
            try served.turn()
        }
        #expect(try served.reply(to: client)?.status == 413)
    }

    private static func echo() throws -> Served {
        var limits = Limits()
        limits.contentBytes = 50_000
        return try Served(limits: limits) { Response(body: $0.body) }
    }

    private static func post(length: Int, _ fields: String = "") -> String {
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \(length)\r\n\(fields)\r\n"
    }
}
