import Posix
import Testing

@testable import HTTP

/// What a client does that takes a place and does not give it back.
enum Hold: String, CaseIterable {
    case silence, halfAHead, halfABody, halfAChunk, unreadResponse, halfClosed, keptAlive

    /// What the client sends.
    var text: String {
        switch self {
        case .silence: ""
        case .halfAHead, .halfClosed: "GET / HTTP/1.1\r\nX: "
        case .halfABody: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\na"
        case .halfAChunk: "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n9\r\na"
        case .unreadResponse: get("/large")
        case .keptAlive: get("/")
        }
    }
}

@Suite("Admission when all places are taken", .timeLimit(.minutes(5)))
struct AdmissionTests {
    private static func served(
        places: Int,
        responseBytes: Int = .max,
        on address: ListenAddress = .internet(.loopback, port: 0)
    ) throws -> Served {
        var limits = Limits()
        limits.connections = places
        limits.contentBytes = 100
        limits.responseBytes = responseBytes
        return try Served(on: address, limits: limits) { request in
            if request.path == "/large" {
                return Response(body: Array(repeating: 7, count: 16_000_000))
            }
            var response = Response.text(.ok, request.path)
            if request.path == "/metrics" { response.tag = 1 }
            return response
        }
    }

    /// Connects clients that hold their places, and waits until the server has seen what they sent.
    private static func crowd(
        _ count: Int,
        _ hold: Hold,
        _ served: Served
    ) throws -> [Client] {
        var clients: [Client] = []
        for _ in 0..<count {
            let client = try served.connect(sending: hold.text)
            if hold == .halfClosed { client.socket.finishSending() }
            if hold == .keptAlive { _ = try served.reply(to: client) }
            clients.append(client)
        }
        return clients
    }

    @Test("a crowd that holds all places keeps no other client out", arguments: Hold.allCases)
    func crowd(hold: Hold) throws {
        let served = try Self.served(places: 8)
        let scraper = try served.connect(sending: get("/metrics"))
        #expect(try served.reply(to: scraper)?.status == 200)
        var crowd: [Client] = []
        for round in 0..<4 {
            crowd += try Self.crowd(8, hold, served)
            let probe = try served.connect(sending: get("/probe"))
            #expect(try served.reply(to: probe)?.text == "/probe\n", "round \(round)")
            let again = try served.reply(to: scraper, sending: get("/metrics"))
            #expect(again?.status == 200, "round \(round)")
        }
        withExtendedLifetime(crowd) {}
    }

    @Test("a request that comes in parts is finished beside a crowd that keeps its connections")
    func parts() throws {
        let served = try Self.served(places: 8)
        let crowd = try Self.crowd(8, .keptAlive, served)
        let slow = try served.connect(sending: "GET /slow HTTP/1.1\r\n")
        let others = try Self.crowd(3, .keptAlive, served)
        #expect(try served.reply(to: slow, sending: "Host: a\r\n\r\n")?.text == "/slow\n")
        withExtendedLifetime((crowd, others)) {}
    }

    @Test("the oldest unfinished request makes room, and is sent the reason")
    func oldest() throws {
        let served = try Self.served(places: 3)
        let kept = try served.connect(sending: get("/"))
        #expect(try served.reply(to: kept)?.closes == false)
        let oldest = try served.connect(sending: "GET ")
        try served.serve { $0.busyConnections < 1 }
        let second = try served.connect(sending: "GET ")
        let newest = try served.connect(sending: get("/"))
        #expect(try served.reply(to: newest)?.status == 200)
        let reply = try #require(try served.reply(to: oldest))
        #expect(reply.status == 503)
        #expect(reply.closes)
        try served.waitForClose(of: oldest)
        #expect(served.server.openConnections <= 3)
        #expect(served.server.counters.evicted == 1)
        #expect(served.server.counters.rejections[.unavailable] == 1)
        #expect(try served.reply(to: second, sending: "/2 HTTP/1.0\r\n\r\n")?.text == "/2\n")
        #expect(try served.reply(to: kept, sending: get("/3"))?.text == "/3\n")
    }

    @Test("of connections that are kept alive, those go first whose clients do not come back")
    func returning() throws {
        let served = try Self.served(places: 4)
        let returning = try served.connect(sending: get("/"))
        _ = try served.reply(to: returning)
        #expect(try served.reply(to: returning, sending: get("/"))?.status == 200)
        for _ in 0..<20 {
            let client = try served.connect(sending: get("/"))
            _ = try served.reply(to: client)
            #expect(served.server.openConnections <= 4)
        }
        #expect(try served.reply(to: returning, sending: get("/again"))?.text == "/again\n")
    }

    @Test("a new client is asked to use another connection when all places are taken")
    func closes() throws {
        let served = try Self.served(places: 2)
        let kept = try served.connect(sending: get("/"))
        #expect(try served.reply(to: kept)?.closes == false)
        let silent = try served.connect()
        for _ in 0..<5 {
            let client = try served.connect(sending: get("/"))
            #expect(try served.reply(to: client)?.closes == true)
            #expect(try served.reply(to: kept, sending: get("/"))?.closes == false)
        }
        withExtendedLifetime(silent) {}
    }

    @Test("a peer that has most of the places cannot take those of others")
    func peers() throws {
        let served = try Self.served(places: 8, on: .anyAddress(port: 0))
        guard case .anyAddress(let port) = served.server.addresses[0] else { return }
        let other = try ListenAddress("[::1]:\(port)")
        let kept = try served.connect(sending: get("/"), to: other)
        _ = try served.reply(to: kept)
        let crowd = try Self.crowd(8, .keptAlive, served)
        let slow = try served.connect(sending: "GET /slow HTTP/1.1\r\n", to: other)
        let more = try Self.crowd(20, .halfAHead, served) + Self.crowd(20, .keptAlive, served)
        #expect(try served.reply(to: slow, sending: "Host: a\r\n\r\n")?.text == "/slow\n")
        #expect(try served.reply(to: kept, sending: get("/kept"))?.text == "/kept\n")
        withExtendedLifetime((crowd, more)) {}
    }

    @Test("a peer is an IPv4 address or an IPv6 network")
    func networks() {
        #expect(Peer.network(of: "10.0.0.1") == "10.0.0.1")
        #expect(Peer.network(of: "2001:db8:1:2:3::4") == Peer.network(of: "2001:db8:1:2::9"))
        #expect(Peer.network(of: "2001:db8:1:2::9") != Peer.network(of: "2001:db8:1:3::9"))
        #expect(Peer.network(of: "unix") == "unix")
    }

    @Test("a pipelining crowd delays a new client and an old one by a turn, not by all it has sent")
    func pipelining() throws {
        let served = try Self.served(places: 64)
        let scraper = try served.connect(sending: get("/metrics"))
        _ = try served.reply(to: scraper)
        let requests = String(repeating: get("/x"), count: 200)
        var crowd: [Client] = []
        for _ in 0..<20 { crowd.append(try served.connect(sending: requests)) }
        let before = served.server.counters.responses.total
        let probe = try served.connect(sending: get("/probe"))
        #expect(try served.reply(to: probe)?.text == "/probe\n")
        #expect(try served.reply(to: scraper, sending: get("/again"))?.text == "/again\n")
        // A turn answers no client twice while others wait, and these two are first in theirs.
        #expect(served.server.counters.responses.total - before < 20 * 8)
        for client in crowd {
            for _ in 0..<200 { #expect(try served.reply(to: client)?.status == 200) }
        }
    }

    @Test("a turn ends when its time is over, and goes on where it ended")
    func budget() throws {
        var limits = Limits()
        limits.turn = .zero
        let served = try Served(limits: limits)
        var clients: [Client] = []
        for _ in 0..<5 {
            let client = try served.connect(sending: get("/"))
            _ = try served.reply(to: client)
            clients.append(client)
        }
        let before = served.server.counters.responses.total
        for client in clients { client.send(get("/next")) }
        try served.turn()
        #expect(served.server.counters.responses.total - before == 1)
        for client in clients { #expect(try served.reply(to: client)?.text == "get /next\n") }
    }

    @Test("the kernel keeps little for a client that does not read")
    func unread() throws {
        let served = try Self.served(places: 8)
        let client = try served.connect()
        try client.limitRoom(to: 4096)
        client.send(get("/large"))
        try served.serve { $0.busyConnections == 0 }
        for _ in 0..<50 { try served.turn(until: soon(1)) }
        // Without another turn, no more can arrive than the kernel has accepted.
        while try client.receives(until: soon(100)) {}
        #expect(client.received.count < 1 << 20)
    }

    @Test("responses that nobody takes are held up to a bound; the slowest reader goes first")
    func heldResponses() throws {
        let served = try Self.served(places: 64, responseBytes: 40_000_000)
        let crowd = try (0..<10).map { _ in try served.connect(sending: get("/large")) }
        try served.serve { $0.counters.responses.total < 10 }
        let held = served.server.heldResponseBytes
        #expect(held <= 40_000_000)
        #expect(served.server.counters.evicted == 8)
        try served.waitForClose(of: crowd[0])
        #expect(try served.reply(to: crowd[9])?.body.count == 16_000_000)
        let probe = try served.connect(sending: get("/probe"))
        #expect(try served.reply(to: probe)?.text == "/probe\n")
    }

    @Test("a response larger than the bound is sent all the same")
    func largerThanTheBound() throws {
        let served = try Self.served(places: 8, responseBytes: 1)
        let client = try served.connect(sending: get("/large"))
        #expect(try served.reply(to: client)?.body.count == 16_000_000)
        #expect(served.server.counters.evicted == 0)
    }

    @Test("a peer that takes none of its responses does not cost another its own")
    func heldByOnePeer() throws {
        let address = ListenAddress.anyAddress(port: 0)
        let served = try Self.served(places: 64, responseBytes: 40_000_000, on: address)
        guard case .anyAddress(let port) = served.server.addresses[0] else { return }
        let slow = try served.connect(sending: get("/large"), to: ListenAddress("[::1]:\(port)"))
        let crowd = try (0..<10).map { _ in try served.connect(sending: get("/large")) }
        try served.serve { $0.counters.responses.total < 11 }
        #expect(try served.reply(to: slow)?.body.count == 16_000_000)
        withExtendedLifetime(crowd) {}
    }

    @Test("connections closed to make room are reported at once, and then every ten minutes")
    func report() throws {
        let served = try Self.served(places: 1)
        #expect(served.server.evictionsToReport() == nil)
        let crowd = try Self.crowd(3, .halfAHead, served)
        let now = BootTime.now()
        #expect(served.server.evictionsToReport(at: now) == 2)
        let more = try Self.crowd(2, .halfAHead, served)
        #expect(served.server.evictionsToReport(at: now.advanced(by: .seconds(599))) == nil)
        #expect(served.server.evictionsToReport(at: now.advanced(by: .seconds(600))) == 2)
        #expect(served.server.evictionsToReport(at: now.advanced(by: .seconds(6000))) == nil)
        withExtendedLifetime((crowd, more)) {}
    }
}
