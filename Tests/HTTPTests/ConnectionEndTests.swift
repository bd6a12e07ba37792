import Posix
import Testing

@testable import HTTP

/// Answers with the number of the connection; asks for its end on the path `/tell`.
private func number(_ request: Request) -> Response {
    var response = Response.text(.ok, "\(request.connection)")
    response.reportsEnd = request.path == "/tell"
    return response
}

@Suite("The numbers of connections and their ends", .timeLimit(.minutes(5)))
struct ConnectionEndTests {
    @Test("a number stays with its connection, and none is given again")
    func numbers() throws {
        let served = try Served(handle: number)
        var seen: [String] = []
        for _ in 0..<3 {
            let client = try served.connect()
            for _ in 0..<2 {
                let reply = try served.reply(to: client, sending: get("/"))
                seen.append(String(decoding: reply?.body ?? [], as: UTF8.self))
            }
        }
        #expect(seen == ["1\n", "1\n", "2\n", "2\n", "3\n", "3\n"])
    }

    @Test("an end is told once, and only when a response asked for it")
    func ends() throws {
        let served = try Served(handle: number)
        do {
            let clients = [try served.connect(), try served.connect()]
            _ = try served.reply(to: clients[0], sending: get("/tell"))
            _ = try served.reply(to: clients[1], sending: get("/"))
            #expect(served.server.removeClosed().isEmpty)
        }
        try served.serve { $0.openConnections > 0 }
        #expect(served.server.removeClosed() == [1])
        #expect(served.server.removeClosed().isEmpty)
    }

    @Test("a response that closes the connection ends it, whenever the client closes its side")
    func closing() throws {
        let served = try Served(handle: number)
        let client = try served.connect(sending: get("/tell", "Connection: close\r\n"))
        _ = try served.reply(to: client)
        #expect(served.server.removeClosed() == [1])
        try served.waitForClose(of: client)
        #expect(served.server.removeClosed().isEmpty)
    }

    @Test("one that is closed to make room has ended, too")
    func evicted() throws {
        var limits = Limits()
        limits.connections = 1
        let served = try Served(limits: limits, handle: number)
        let first = try served.connect()
        _ = try served.reply(to: first, sending: get("/tell"))
        let second = try served.connect()
        #expect(served.server.removeClosed() == [1])
        withExtendedLifetime(second) {}
    }
}
