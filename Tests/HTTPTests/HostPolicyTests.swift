import Posix
import Testing

@testable import HTTP

@Suite("Host policy, against DNS rebinding", .timeLimit(.minutes(5)))
struct HostPolicyTests {
    private let policy = HostPolicy(
        allowed: ["Dash.example.org."],
        trustedOrigins: ["https://pages.example.org"],
        ownName: "Recorder-1"
    )

    private static let foreign = [
        "evil.example", "EVIL.example:9847", "localhost.evil.example", "127.0.0.1.evil.example",
        "dash.example.org.evil.example", "xdash.example.org", "notlocalhost",
        "recorder-1.evil.example",
        "recorder", "%6cocalhost", "0x7f000001", "2130706433", "evil.example.",
    ]
    private static let local = [
        "", "localhost", "LOCALHOST:9847", "localhost.", "a.localhost", "127.0.0.1:9847",
        "10.1.2.3",
        "[::1]", "[fd00::1]:9847", "recorder-1:8000", "Recorder-1.local", "dash.example.org",
        "dash.example.org:443", "DASH.example.org.",
    ]
    private static let browser = [
        "Origin: http://evil.example", "origin: null", "Referer: http://evil.example/",
        "Accept-Language: de", "Sec-Fetch-Site: none",
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64)",
    ]

    @Test("refuses a browser's request for a foreign name", arguments: browser)
    func refuses(field: String) throws {
        for host in Self.foreign {
            #expect(try !admits(host, field), "\(host)")
        }
    }

    @Test("accepts a browser's request for a local or an allowed name", arguments: browser)
    func takes(field: String) throws {
        for host in Self.local {
            #expect(try admits(host, field), "\(host)")
        }
    }

    @Test(
        "does not examine the requests of programs",
        arguments: [
            "User-Agent: Prometheus/3.1.0\r\nAccept: text/plain\r\nX-Prometheus-Scrape-Timeout-Seconds: 10",
            "User-Agent: kube-probe/1.36", "User-Agent: curl/8.5.0", "Accept-Encoding: gzip",
            "User-Agent: Twitch-EventSub\r\nTwitch-Eventsub-Message-Type: notification", "X: y",
        ]
    )
    func programs(fields: String) throws {
        for host in Self.foreign + Self.local { #expect(try admits(host, fields)) }
    }

    @Test("examines the host in the target, too")
    func target() throws {
        let text = "GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\nOrigin: x\r\n\r\n"
        #expect(!policy.allows(try #require(parsedRequest(text))))
    }

    @Test("accepts any name from pages that the operator trusts")
    func trusted() throws {
        #expect(try admits("rec.example.org", "Origin: https://pages.example.org"))
        let two = "Origin: https://pages.example.org\r\nOrigin: http://evil.example"
        #expect(try !admits("rec.example.org", two))
    }

    @Test("the server answers 403, counts it, and closes")
    func served() throws {
        let served = try Served()
        served.server.hosts = policy
        let client = try served.connect(
            sending: "GET / HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\n\r\n"
        )
        let reply = try #require(try served.reply(to: client))
        #expect(reply.status == 403)
        #expect(reply.text.contains("web.allowed-host"))
        #expect(reply.closes)
        #expect(served.server.counters.rejections[.forbidden] == 1)
        #expect(served.server.counters.responses.total == 0)
    }

    @Test("a machine without a name allows no more than others")
    func nameless() throws {
        let nameless = HostPolicy(ownName: "")
        let text = "GET / HTTP/1.1\r\nHost: .local\r\nOrigin: x\r\n\r\n"
        #expect(!nameless.allows(try #require(parsedRequest(text))))
    }

    @Test(
        "a setting is a name and nothing else",
        arguments: [
            ("dash.example.org", true), ("dash.example.org.", true), ("recorder_1", true),
            ("", false),
            ("https://dash.example.org", false), ("dash.example.org:443", false), ("a..b", false),
            ("a/b", false), ("*", false), ("ü.example", false),
            (String(repeating: "a", count: 64), false),
        ]
    )
    func setting(text: String, isName: Bool) {
        #expect(HostPolicy.isName(text) == isName)
    }

    /// Whether a server with the policy answers a request for `host` with other than 403.
    private func admits(_ host: String, _ fields: String) throws -> Bool {
        let served = try Served()
        served.server.hosts = policy
        let text = "GET / HTTP/1.1\r\nHost: \(host)\r\n\(fields)\r\n\r\n"
        let client = try served.connect(sending: text)
        return try #require(try served.reply(to: client)).status != 403
    }
}
