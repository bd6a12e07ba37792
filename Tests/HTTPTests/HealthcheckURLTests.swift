import HTTP
import Posix
import Testing

@Suite("The URL of a health check")
struct HealthcheckURLTests {
    @Test(
        "says where to connect and what to ask",
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
            ("http://example.org/", "use an IP address"), ("http://a@127.0.0.1/", "host name"),
            ("http://127.0.0.1:x/", "not a number"), ("http://127.0.0.1:70000/", "not a number"),
            ("http://::1/", "no host"), ("http://1::1/", "address"),
            ("http://127.0.0.1/\r\nX: y", "is not a URL"),
            ("http://127.0.0.1/ x", "is not a URL"), ("http://127.0.0.1/ü", "is not a URL"),
            ("", "begins"),
            ("unix:/run/a.sock", "have the form"), ("unix::/x", "have the form"),
            ("http://127.0.0.1/" + String(repeating: "x", count: 2048), "is not a URL"),
        ]
    )
    func badURL(_ text: String, _ words: String) {
        let error = #expect(throws: HealthcheckURLError.self) { _ = try HealthcheckURL(text) }
        #expect(error?.description.contains(words) == true, "\(error?.description ?? "")")
        #expect(error?.description.contains("\n") == false)
    }
}
