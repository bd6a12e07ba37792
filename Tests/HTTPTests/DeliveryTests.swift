import Glibc
import Posix
import Testing

@testable import HTTP

@Suite("Deliveries", .timeLimit(.minutes(5)))
struct DeliveryTests {
    private static func tagged(_ body: [UInt8] = [7]) -> (Request) -> Response {
        { request in
            var response = Response(body: body)
            response.tag = request.query("tag").flatMap { UInt64($0) }
            return response
        }
    }

    @Test("are told of responses with a tag only, once each")
    func tagged() throws {
        let served = try Served(handle: Self.tagged())
        let client = try served.connect(sending: get("/a") + get("/b?tag=5"))
        for _ in 0..<2 { _ = try served.reply(to: client) }
        try served.serve { $0.busyConnections > 0 }
        let delivery = AcknowledgedResponse(path: "/b", status: .ok, peer: "127.0.0.1", tag: 5)
        #expect(served.server.removeAcknowledged() == [delivery])
        #expect(served.server.removeAcknowledged().isEmpty)
    }

    @Test("wait for the last byte of a response, not for those of later ones")
    func order() throws {
        // A local socket acknowledges what its peer has read: a test can say when.
        let path = "/tmp/http-tests-\(getpid())-\(UInt32.random(in: .min ... .max)).sock"
        defer { unlink(path) }
        let served = try Served(on: .unix(path: path), handle: Self.tagged())
        let client = try served.connect(sending: get("/?tag=1"))
        try served.serve { $0.counters.responses[.ok] == 0 }
        for _ in 0..<5 { try served.turn(until: soon(1)) }
        #expect(served.server.removeAcknowledged().isEmpty)
        #expect(served.server.busyConnections == 1)
        client.receive()
        try served.serve { $0.busyConnections > 0 }
        #expect(served.server.removeAcknowledged().map(\.tag) == [1])
    }

    @Test("are told of the last response of a connection")
    func closing() throws {
        let served = try Served(handle: Self.tagged(Array(repeating: 7, count: 3_000_000)))
        let client = try served.connect(sending: get("/?tag=1", "Connection: close\r\n"))
        #expect(try served.reply(to: client)?.body.count == 3_000_000)
        try served.serve { $0.busyConnections > 0 }
        #expect(served.server.removeAcknowledged().map(\.tag) == [1])
    }

    @Test("do not happen when the client resets the connection")
    func reset() throws {
        let served = try Served(handle: Self.tagged(Array(repeating: 7, count: 3_000_000)))
        do {
            let client = try served.connect()
            try client.limitRoom(to: 2048)
            client.send(get("/?tag=1"))
            try served.serve { $0.counters.responses[.ok] == 0 }
        }  // Closed with unread bytes.
        try served.serve { $0.openConnections > 0 }
        #expect(served.server.removeAcknowledged().isEmpty)
    }

    @Test("are given up when the acknowledgement does not come in time")
    func late() throws {
        let path = "/tmp/http-tests-\(getpid())-\(UInt32.random(in: .min ... .max)).sock"
        defer { unlink(path) }
        var limits = Limits()
        limits.response = .milliseconds(20)
        let served = try Served(on: .unix(path: path), limits: limits, handle: Self.tagged())
        let client = try served.connect(sending: get("/?tag=1"))
        try served.serve { $0.openConnections > 0 }
        #expect(served.server.removeAcknowledged().isEmpty)
        client.receive()
    }
}
