import Testing

@testable import Fetch

@Suite("texts without secrets")
struct RedactionTests {
    @Test(
        "users and queries of addresses are left out of texts",
        arguments: [
            ("open https://h.test/a/b.m3u8?t=1&u=2 for", "open https://h.test/a/b.m3u8 for"),
            ("'http://h/x?k'", "'http://h/x'"), ("why? http://h/x", "why? http://h/x"),
            ("http://h/a?b http://h/c#d", "http://h/a http://h/c"), ("no address", "no address"),
            ("https://h?q", "https://h"), ("://", "://"),
            ("https://u:p@h/a@b", "https://h/a@b"), ("http://u:p@[::1]:80?q", "http://[::1]:80"),
            ("http://h/live(1).m3u8?t=(a)&u='b'c for", "http://h/live(1).m3u8 for"),
            ("('for url: http://h/x?y=z')", "('for url: http://h/x')"),
            ("{http://h?a}{http://h#b}", "{http://h}{http://h}"),
        ]
    )
    func redaction(of text: String, gives expected: String) {
        #expect(redacted(text) == expected)
    }
}
