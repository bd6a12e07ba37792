import HTTP
import Posix
import Testing

@testable import Exporter

@Suite("The command line's paths and URLs")
struct ArgumentsTests {
    @Test(
        "metrics may be served on any path that clients send as it is",
        arguments: [
            ("/metrics", nil), ("/a/b-c_d.e~f", nil), ("/livezz", nil), ("/-/metrics", nil),
            ("metrics", "does not begin with /"), ("/m?x=1", "no query"), ("/m#x", "letters"),
            ("/a%20b", "no escapes"), ("/ü", "letters"), ("/a b", "letters"), ("/a\n", "letters"),
            ("//metrics", "empty segment"), ("/a//b", "empty segment"), ("/a/", "empty segment"),
            ("/a/../b", "dots"), ("/.", "dots"), ("/health", "is one of /health"),
            ("/readyz", "is one of /readyz"), ("/livez/metrics", "is one of /livez"),
            ("/shutdowns", "is one of /shutdowns"), ("/", "is one of /"),
            ("/-/ready", "is one of /-/ready"),
            ("/" + String(repeating: "x", count: 1024), "longer"),
        ] as [(String, String?)]
    )
    func telemetryPath(_ path: String, complaint: String?) throws {
        guard let complaint else {
            #expect(try TelemetryPath(path).text == path)
            return
        }
        let error = #expect(throws: CommandLineError.self) { _ = try TelemetryPath(path) }
        #expect(error?.description.contains(complaint) == true, "\(error?.description ?? "")")
        #expect(error?.description.contains("\n") == false)
    }

    @Test(
        "a health check's URL says where to connect and what to ask",
        arguments: [
            ("http://127.0.0.1:9847/health", ["127.0.0.1:9847"], "127.0.0.1:9847", "/health"),
            ("http://[::1]:9847/a?b=c#d", ["[::1]:9847"], "[::1]:9847", "/a?b=c"),
            ("http://[::1]", ["[::1]:80"], "[::1]", "/"),
            ("http://127.0.0.1?x", ["127.0.0.1:80"], "127.0.0.1", "/?x"),
            ("http://localhost:1/", ["127.0.0.1:1", "[::1]:1"], "localhost:1", "/"),
            ("http://LocalHost", ["127.0.0.1:80", "[::1]:80"], "LocalHost", "/"),
            (
                "unix:/run/a.sock:/livez?verbose", ["unix:/run/a.sock"], "localhost",
                "/livez?verbose"
            ),
        ]
    )
    func url(_ text: String, _ addresses: [String], _ host: String, _ target: String) throws {
        let url = try HealthcheckURL(text)
        #expect(url.addresses.map(\.description) == addresses)
        #expect(url.host == host)
        #expect(url.target == target)
    }

    @Test(
        "another URL is refused with the reason",
        arguments: [
            ("https://127.0.0.1/", "begins neither"), ("127.0.0.1:9847", "begins neither"),
            ("http://", "no host"), ("http://:80/", "no host"), ("http:///x", "no host"),
            ("http://example.org/", "host name"), ("http://a@127.0.0.1/", "host name"),
            ("http://127.0.0.1:x/", "no number"), ("http://127.0.0.1:70000/", "no number"),
            ("http://::1/", "no host"), ("http://1::1/", "address"),
            ("http://127.0.0.1/\r\nX: y", "is no URL"),
            ("http://127.0.0.1/ x", "is no URL"), ("http://127.0.0.1/ü", "is no URL"),
            ("", "begins"),
            ("unix:/run/a.sock", "of the form"), ("unix::/x", "of the form"),
            ("http://127.0.0.1/" + String(repeating: "x", count: 2048), "is no URL"),
        ]
    )
    func badURL(_ text: String, _ words: String) {
        let error = #expect(throws: CommandLineError.self) { _ = try HealthcheckURL(text) }
        #expect(error?.description.contains(words) == true, "\(error?.description ?? "")")
        #expect(error?.description.contains("\n") == false)
    }
}
