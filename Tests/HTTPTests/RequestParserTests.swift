import Testing

@testable import HTTP

@Suite("Request parser")
struct RequestParserTests {
    @Test(
        "refuses what could be read in two ways",
        arguments: [
            // Line ends.
            ("GET / HTTP/1.1\nHost: a\r\n\r\n", .bareLineFeed),
            ("GET / HTTP/1.1\r\nHost: a\n\r\n", .bareLineFeed),
            ("\n\r\n", .bareLineFeed),
            ("GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", .bareCarriageReturn),
            ("GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", .bareCarriageReturn),
            ("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", .control),
            ("GET / HTTP/1.1\r\nHost: a\r\nX: \u{7F}\r\n\r\n", .control),
            ("\u{16}\u{3}\u{1}", .control),
            // The request line.
            ("GET /\r\n\r\n", .requestLine),
            ("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", .requestLine),
            (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", .requestLine),
            ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", .requestLine),
            ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", .requestLine),
            ("GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n", .requestLine),
            ("G@T / HTTP/1.1\r\nHost: a\r\n\r\n", .requestLine),
            ("GET / http/1.1\r\nHost: a\r\n\r\n", .requestLine),
            ("GET / HTTP/1.10\r\nHost: a\r\n\r\n", .requestLine),
            ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", .version),
            ("PRI * HTTP/2.0\r\n\r\n", .version),
            ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", .version),
            ("GET / HTTP/0.9\r\n\r\n", .version),
            // The target.
            ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", .target),
            ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", .target),
            ("GET /#a HTTP/1.1\r\nHost: a\r\n\r\n", .target),
            ("GET /ü HTTP/1.1\r\nHost: a\r\n\r\n", .target),
            ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", .target),
            ("GET http:///a HTTP/1.1\r\nHost: a\r\n\r\n", .target),
            ("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", .target),
            ("GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", .target),
            ("CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", .target),
            // The fields.
            ("GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", .folding),
            ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", .folding),
            ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", .fieldName),
            ("GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", .fieldName),
            ("GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", .fieldName),
            ("GET / HTTP/1.1\r\nHost: a\r\nX(y): a\r\n\r\n", .fieldName),
            ("GET / HTTP/1.1\r\nHost: a\r\nX\u{E4}: a\r\n\r\n", .fieldName),
            ("GET / HTTP/1.1\r\n\r\n", .host),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", .host),
            ("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", .host),
            ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", .host),
            ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", .host),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost:\r\n\r\n", .host),
            ("GET http://a:b/ HTTP/1.1\r\nHost: a\r\n\r\n", .target),
            ("GET http://[::1/ HTTP/1.1\r\nHost: a\r\n\r\n", .target),
            ("CONNECT [::1] HTTP/1.1\r\nHost: a\r\n\r\n", .target),
            ("GET / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n", .expectation),
        ] as [(String, Rejection)]
    )
    func refused(text: String, rejection: Rejection) {
        #expect(parse(text) == .rejected(rejection))
        #expect(Rejection.statuses.contains(rejection.status))
    }

    @Test(
        "refuses content whose length is in doubt",
        arguments: [
            ("Content-Length: 3\r\nContent-Length: 4", .contentLength),
            ("Content-Length: 3\r\nContent-Length: 3", .contentLength),
            ("Content-Length: 3, 3", .contentLength),
            ("Content-Length: +3", .contentLength),
            ("Content-Length: -3", .contentLength),
            ("Content-Length: 0x3", .contentLength),
            ("Content-Length: 3 3", .contentLength),
            ("Content-Length:", .contentLength),
            ("Content-Length: 101", .longContent),
            ("Content-Length: 99999999999999999999999", .longContent),
            ("Transfer-Encoding: chunked", .longContent),
            ("transfer-encoding:\tCHUNKED\t", .longContent),
            ("Transfer-Encoding: chunked, chunked", .unknownCoding),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", .unknownCoding),
            ("Content-Length: 3\r\nTransfer-Encoding: chunked", .bothLengths),
            ("Transfer-Encoding: chunked\r\nContent-Length: 3", .bothLengths),
            ("Transfer-Encoding: gzip, chunked", .unknownCoding),
            ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", .unknownCoding),
            ("Transfer-Encoding: chunked, gzip", .notChunked),
            ("Transfer-Encoding: xchunked", .notChunked),
            ("Transfer-Encoding: chunked;a=b", .notChunked),
            ("Transfer-Encoding:", .notChunked),
        ] as [(String, Rejection)]
    )
    func framing(fields: String, rejection: Rejection) {
        let text = "POST / HTTP/1.1\r\nHost: a\r\n\(fields)\r\n\r\nabc\r\n"
        #expect(parse(text, contentLimit: 100) == .rejected(rejection))
        #expect(Rejection.statuses.contains(rejection.status))
    }

    @Test("takes CONNECT for the last request of a connection, and without content")
    func connect() throws {
        let head = "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n"
        let request = try #require(parsedRequest(head + "Connection: keep-alive\r\n\r\n"))
        #expect(!request.keepsAlive)
        for field in ["Content-Length: 3", "Transfer-Encoding: chunked"] {
            #expect(parse("\(head)\(field)\r\n\r\n", contentLimit: 9) == .rejected(.connectContent))
        }
    }

    @Test(
        "refuses a Host that is none",
        arguments: [
            "a b", "a/b", "a@b", "http://a", "a:b", "a:80:80", "::1", "[::1", "[::1]a", "[::1]:x",
            "[]", "[1.2.3.4]",
            "[::1]::80", "[v.a]", "[v1.]", "[vg.a]", "[fe80::1%25eth0]", "a]", "[a", "a%", "a%4",
            "a%4g", "a,b:80 c",
            "a?b", "a#b", "a\\b", "a\"b", "a<b", ":80", "a:65536", "a:+80", "ü",
        ]
    )
    func host(text: String) {
        #expect(parse("GET / HTTP/1.1\r\nHost: \(text)\r\n\r\n") == .rejected(.host))
    }

    @Test(
        "takes a Host that is one",
        arguments: [
            "", "a", "a.", "a:", "a:80", "A_b-c~d", "1.2.3.4:65535", "[::1]", "[::ffff:1.2.3.4]:80",
            "[v1.a:b]", "a%4A",
            "a!$&'()*+,;=b",
        ]
    )
    func validHost(text: String) {
        #expect(parse("GET / HTTP/1.1\r\nHost: \(text)\r\n\r\n").isRequest)
    }

    @Test("refuses a transfer coding in HTTP/1.0")
    func oldCoding() {
        let text = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"
        #expect(parse(text) == .rejected(.codingInHTTP10))
    }

    @Test("refuses any content unless a limit allows it")
    func noContent() {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:"
        #expect(parse("\(head) 1\r\n\r\n") == .rejected(.longContent))
        #expect(parse("\(head) 0\r\n\r\n").isRequest)
        #expect(parse("\(head) 007\r\n\r\nabcdefgh", contentLimit: 7) == .request(rest: 1))
    }

    @Test("waits for the rest of a head, and of its content")
    func incomplete() {
        let text = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
        for end in 0..<text.utf8.count {
            let part = String(decoding: Array(text.utf8)[..<end], as: UTF8.self)
            #expect(parse(part, contentLimit: 3) == .incomplete)
        }
        #expect(parse(text, contentLimit: 3) == .request(rest: 0))
    }

    @Test("takes a head that just fits, and no longer one")
    func headLimit() {
        let line = "GET / HTTP/1.1\r\nHost: a\r\nX: "
        let fits = line + String(repeating: "x", count: 100 - line.utf8.count - 4) + "\r\n\r\n"
        #expect(parse(fits, headLimit: 100).isRequest)
        #expect(parse(fits, headLimit: 99) == .rejected(.longHeader))
        #expect(parse(String(repeating: "x", count: 100), headLimit: 100) == .rejected(.longTarget))
        // Whatever comes after the limit is not looked at.
        #expect(parse(fits.dropLast(2) + "\n", headLimit: 96) == .rejected(.longHeader))
    }

    @Test("skips one empty line before a request")
    func emptyLine() {
        #expect(parse("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").isRequest)
    }

    @Test("leaves the next request to the next call")
    func pipelined() throws {
        let bytes = Array("GET /1 HTTP/1.0\r\n\r\nGET /2 HTTP/1.0\r\n\r\n".utf8)
        var parser = RequestParser()
        guard case .request(let first, let consumed) = parser.parse(bytes.span) else {
            return #expect(Bool(false), "no first request")
        }
        let rest = bytes.span.extracting(droppingFirst: consumed)
        guard case .request(let second, _) = parser.parse(rest) else {
            return #expect(Bool(false), "no second request")
        }
        #expect([first.path, second.path] == ["/1", "/2"])
    }
}
