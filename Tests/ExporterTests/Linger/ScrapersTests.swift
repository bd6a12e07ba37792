import HTTP
import Testing

@testable import Exporter

/// One look-alike on some connection at some second, or the end of a connection.
private enum Event {
    case visit(Double, by: UInt64)
    case end(Double, of: UInt64)
}

/// A request for the metrics with these fields.
private func request(_ fields: [String]) throws -> Request {
    let text = "GET /metrics HTTP/1.1\r\nHost: a\r\n\(fields.map { $0 + "\r\n" }.joined())\r\n"
    var parser = RequestParser()
    guard case .request(let request, _) = parser.parse(Array(text.utf8).span, peer: "10.0.0.1")
    else { throw NotARequest() }
    return request
}

private struct NotARequest: Error {}

@Suite("Who scrapes")
struct ScrapersTests {
    private static let prometheus = ScraperIdentity(
        peer: "10.0.0.1",
        agent: "Prometheus/3.4.0",
        timeout: "10"
    )

    @Test(
        "look-alikes are told apart by their connections",
        arguments: [
            ("one that keeps its connection", [.visit(0, by: 1), .visit(15, by: 1)], 1),
            (
                "one that comes again after its connection has ended",
                [.visit(0, by: 1), .end(10, of: 1), .visit(15, by: 2)], 1
            ),
            (
                "one that never keeps a connection",
                [
                    .visit(0, by: 1), .end(0, of: 1), .visit(15, by: 2), .end(15, of: 2),
                    .visit(30, by: 3),
                ], 1
            ),
            ("two at a time", [.visit(0, by: 1), .visit(7, by: 2)], 2),
            (
                "two, of which one begins anew",
                [
                    .visit(0, by: 1), .visit(7, by: 2), .visit(15, by: 1), .end(20, of: 1),
                    .visit(22, by: 2), .visit(30, by: 3),
                ], 2
            ),
            (
                "one that gave up, heard of only after its next scrape",
                [.visit(0, by: 1), .visit(15, by: 1), .visit(30, by: 2), .end(30.01, of: 1)], 1
            ),
            (
                "two, though the end of one follows a scrape of the other",
                [
                    .visit(0, by: 1), .visit(7, by: 2), .visit(15, by: 1), .visit(22, by: 2),
                    .end(22.01, of: 1),
                ], 2
            ),
        ] as [(String, [Event], Int)]
    )
    fileprivate func identity(_ what: String, _ events: [Event], _ count: Int) {
        var scrapers = Scrapers()
        for event in events {
            switch event {
            case .visit(let time, let connection):
                _ = scrapers.visit(by: Self.prometheus, on: connection, at: seconds(time))
            case .end(let time, let connection):
                scrapers.noteEnd(of: connection, at: seconds(time))
            }
        }
        #expect(scrapers.count(at: seconds(40)) == count)
    }

    @Test("of those without a connection, the one comes that was to come about now")
    func pace() {
        var scrapers = Scrapers()
        var (fast, slow) = (UInt32(0), UInt32(0))
        func visit(_ connection: UInt64, _ time: Double) -> UInt32 {
            scrapers.visit(by: Self.prometheus, on: connection, at: seconds(time)).number
        }
        for time in 0..<5 { fast = visit(1, Double(time)) }
        for time in [0.5, 15.5, 30.5] { slow = visit(2, time) }
        for time in 5..<40 { #expect(visit(1, Double(time)) == fast) }
        for connection: UInt64 in [1, 2] { scrapers.noteEnd(of: connection, at: seconds(39.5)) }
        #expect(visit(3, 40) == fast)
        scrapers.noteEnd(of: 3, at: seconds(40))
        #expect(visit(4, 45.6) == slow)
    }

    @Test(
        "what tells two kinds apart",
        arguments: [
            ScraperIdentity(peer: "10.0.0.2", agent: "Prometheus/3.4.0", timeout: "10"),
            ScraperIdentity(peer: "10.0.0.1", agent: "Prometheus/2.42.0", timeout: "10"),
            ScraperIdentity(peer: "10.0.0.1", agent: "Prometheus/3.4.0", timeout: "5"),
            ScraperIdentity(
                peer: "10.0.0.1",
                agent: "Prometheus/3.4.0",
                accept: "text/plain",
                timeout: "10"
            ),
            ScraperIdentity(
                peer: "10.0.0.1",
                forwardedFor: "192.0.2.7",
                agent: "Prometheus/3.4.0",
                timeout: "10"
            ),
        ]
    )
    func kinds(_ other: ScraperIdentity) {
        var scrapers = Scrapers()
        let first = scrapers.visit(by: Self.prometheus, on: 1, at: seconds(0))
        scrapers.noteEnd(of: 1, at: seconds(1))
        #expect(scrapers.visit(by: other, on: 2, at: seconds(2)).number != first.number)
        #expect(scrapers.count(at: seconds(3)) == 2)
    }

    @Test("clients of one proxy may share a connection")
    func proxy() {
        var scrapers = Scrapers()
        for client in ["192.0.2.7", "192.0.2.8", "192.0.2.7", "192.0.2.8"] {
            let identity = ScraperIdentity(
                peer: "127.0.0.1",
                forwardedFor: client,
                agent: "Prometheus/3.4.0"
            )
            _ = scrapers.visit(by: identity, on: 1, at: seconds(0))
        }
        #expect(scrapers.count(at: seconds(1)) == 2)
    }

    @Test(
        "who comes without a Prometheus' header must come regularly",
        arguments: [
            ("curl/8.0", [0], 0), ("curl/8.0", [0, 5, 7], 0), ("curl/8.0", [0, 5, 10], 1),
            ("Telegraf/1.30", [0, 9.8, 20], 1), ("wrk", [0, 0.1, 0.2, 0.3], 0),
            ("kube-probe/1.33", [0, 10, 20], 0), ("Prometheus/3.4.0", [0], 1),
        ] as [(String, [Double], Int)]
    )
    func strangers(_ agent: String, _ visits: [Double], _ count: Int) {
        var scrapers = Scrapers()
        let identity = ScraperIdentity(peer: "10.0.0.1", agent: agent)
        for (connection, time) in visits.enumerated() {
            _ = scrapers.visit(by: identity, on: UInt64(connection), at: seconds(time))
            scrapers.noteEnd(of: UInt64(connection), at: seconds(time))
        }
        #expect(scrapers.count(at: seconds(30)) == count)
    }

    @Test("the roll is bounded, and strangers cannot push a scraper off it")
    func bounds() {
        var scrapers = Scrapers()
        _ = scrapers.visit(by: Self.prometheus, on: 0, at: seconds(0))
        for number in 1...1000 {
            let identity = ScraperIdentity(peer: "10.0.0.1", agent: "stranger \(number)")
            _ = scrapers.visit(by: identity, on: UInt64(number), at: seconds(1))
        }
        #expect(scrapers.count(at: seconds(2)) == 1)
        for number in 1...1000 {
            let identity = ScraperIdentity(peer: "10.0.0.1", agent: "Prometheus/\(number)")
            _ = scrapers.visit(by: identity, on: UInt64(number), at: seconds(3))
        }
        #expect(scrapers.count(at: seconds(4)) == 64)
    }

    @Test(
        "the interval is the median of the last five, and learned anew after a long absence",
        arguments: [
            ([], nil), ([15], 15), ([1, 15], 15), ([15, 15, 30, 15, 2], 15),
            ([60, 60, 60, 5, 5, 5], 5), ([15, 15, 400], nil), ([15, 400, 5], 5),
        ] as [([Int], Int?)]
    )
    func interval(_ gaps: [Int], _ learned: Int?) {
        var interval = ScrapeInterval()
        for gap in gaps { interval.add(.seconds(gap)) }
        #expect(interval.learned == learned.map { .seconds($0) })
    }

    @Test(
        "what a request says of its sender",
        arguments: [
            (["User-Agent: curl/8.0"], "10.0.0.1 curl/8.0", false),
            ([], "10.0.0.1", false),
            (["User-Agent: Prometheus/3.4.0"], "10.0.0.1 Prometheus/3.4.0", true),
            (
                ["User-Agent: vm_promscrape", "X-Prometheus-Scrape-Timeout-Seconds: 10"],
                "10.0.0.1 vm_promscrape", true
            ),
            (
                ["User-Agent: Prometheus/3.4.0", "X-Forwarded-For: 192.0.2.7"],
                "192.0.2.7 by 10.0.0.1 Prometheus/3.4.0", true
            ),
        ]
    )
    func fields(_ fields: [String], _ name: String, _ isDeclared: Bool) throws {
        let identity = ScraperIdentity(try request(fields))
        #expect(identity.description == name)
        #expect(identity.isPrometheus == isDeclared)
    }

    @Test(
        "behind a proxy the client counts, without its port",
        arguments: [
            ("X-Forwarded-For: 10.0.0.7:40001", "10.0.0.7"),
            ("X-Forwarded-For: 10.0.0.7", "10.0.0.7"),
            ("X-Forwarded-For: ::ffff:10.0.0.7", "10.0.0.7"),
            ("X-Forwarded-For:  10.0.0.7:40001 , 192.0.2.1:7, 192.0.2.2", "10.0.0.7"),
            ("X-Forwarded-For: unknown, 10.0.0.7", "10.0.0.7"),
            ("X-Forwarded-For: [2001:DB8::1]:4711", "2001:db8::1"),
            ("X-Forwarded-For: \"[2001:db8::1]:4711\"", "2001:db8::1"),
            ("X-Forwarded-For: [2001:db8::1]", "2001:db8::1"),
            ("X-Forwarded-For: 2001:db8:0:0::1", "2001:db8::1"),
            ("X-Forwarded-For: fe80::1%eth0", "fe80::1"),
            ("Forwarded: for=10.0.0.7", "10.0.0.7"),
            ("Forwarded: proto=http;For=\"10.0.0.7:40001\";by=192.0.2.1", "10.0.0.7"),
            ("Forwarded: for=_hidden, for=\"[2001:db8::1]:4711\"", "2001:db8::1"),
            ("X-Forwarded-For: junk 17", nil), ("X-Forwarded-For: ", nil),
            ("X-Forwarded-For: ,,,:::]]", nil), ("X-Forwarded-For: [10.0.0.7", nil),
            ("X-Forwarded-For: 10.0.0.7.example:80", nil), ("Forwarded: for=unknown", nil),
            ("Forwarded: for", nil), ("Forwarded: ;=,=;for=", nil),
            ("X-Forwarded-For: \(String(repeating: "9", count: 4000))", nil),
        ] as [(String, String?)]
    )
    func forwarded(_ field: String, _ client: String?) throws {
        let identity = ScraperIdentity(try request([field, "User-Agent: Prometheus/3.4.0"]))
        #expect(identity.address == client ?? "10.0.0.1")
    }

    @Test("a gateway that has several addresses, and a port for each request, brings one scraper")
    func gateway() {
        var scrapers = Scrapers()
        for number in 0..<8 {
            let identity = ScraperIdentity(
                peer: "192.0.2.\(number % 3)",
                forwardedFor: "10.0.0.7:\(40000 + number)",
                agent: "Prometheus/3.4.0",
                timeout: "10"
            )
            _ = scrapers.visit(by: identity, on: UInt64(number), at: seconds(Double(number)))
            scrapers.noteEnd(of: UInt64(number), at: seconds(Double(number)))
        }
        #expect(scrapers.count(at: seconds(9)) == 1)
    }

    @Test(
        "a Prometheus that reloads its configuration is one scraper, a pair that does is two",
        arguments: [(["10"], ["10"], 1), (["10"], ["5"], 1), (["10", "10"], ["5", "5"], 2)]
    )
    func reload(_ before: [String], _ after: [String], _ count: Int) {
        var scrapers = Scrapers()
        var connection: UInt64 = 0
        func visit(_ timeout: String, _ index: Int, _ times: [Double]) {
            connection += 1
            for time in times {
                let identity = ScraperIdentity(
                    peer: "10.0.0.1",
                    agent: "Prometheus/3.4.0",
                    timeout: timeout
                )
                _ = scrapers.visit(
                    by: identity,
                    on: connection,
                    at: seconds(time + Double(index) * 2)
                )
            }
        }
        for (index, timeout) in before.enumerated() { visit(timeout, index, [0, 15, 30]) }
        // The old connections are kept open: nobody hears that they are of no use any more.
        for (index, timeout) in after.enumerated() { visit(timeout, index, [36, 51, 66]) }
        scrapers.mergeSuccessors(at: seconds(70))
        #expect(scrapers.count(at: seconds(70)) == count)
    }
}
