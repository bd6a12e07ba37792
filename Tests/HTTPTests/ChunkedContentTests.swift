import Testing

@testable import HTTP

@Suite("Chunked content")
struct ChunkedContentTests {
    private static let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

    @Test(
        "is decoded",
        arguments: [
            ("0\r\n\r\n", ""), ("3\r\nabc\r\n0\r\n\r\n", "abc"),
            ("1\r\na\r\n02\r\nbc\r\n000\r\n\r\n", "abc"),
            ("A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789"),
            ("5\r\n\r\n0\r\n\r\n0\r\n\r\n", "\r\n0\r\n"),
            ("1;a\r\nx\r\n0;b=c;d=\"e f;\\\"\"\r\n\r\n", "x"),
            ("0\r\nX: y\r\nZ:\r\n\r\n", ""),
        ]
    )
    func decoded(text: String, content: String) throws {
        let request = try #require(parsedRequest(Self.head + text, contentLimit: 20))
        #expect(String(decoding: request.body, as: UTF8.self) == content)
        let bytes = Array((Self.head + text + "GET").utf8)
        #expect(parse(bytes, splitAt: [], contentLimit: 20) == .request(rest: 3))
        #expect(
            parse(bytes, splitAt: Array(0..<bytes.count), contentLimit: 20) == .request(rest: 3)
        )
    }

    @Test(
        "is refused when it could be read in two ways",
        arguments: [
            "\r\n", " 1\r\na\r\n", "1 \r\na\r\n", "1\na\r\n", "1\r\na\n", "1\r\nab", "1\r\na\rb",
            "g\r\n", "0x1\r\n", "-1\r\n", "+1\r\n", "1,1\r\n", "1\r\r\na", "1;\r\na", "1; a\r\n",
            "1 ;a\r\n",
            "1;a=\r\n", "1;a=\"b\r\n", "1;a=\"b\"c\r\n", "1;a=b\"c\"\r\n", "1;a\u{1}\r\n",
            "1;a=\"\0\"\r\n",
            "1;a=\"\\\n\"\r\n", "0\r\n X: y\r\n", "0\r\nX y\r\n", "0\r\n: y\r\n", "0\r\nX: y\n\r\n",
            "0\r\n\n", "0\n\n",
            "0\r\nX: \0\r\n", "0\r\n\rX", "0\r\nX : y\r\n",
        ]
    )
    func refused(text: String) {
        let bytes = Array((Self.head + text + "\r\n0\r\n\r\n").utf8)
        #expect(parse(bytes, splitAt: [], contentLimit: 20) == .rejected(.chunks))
        let splits = Array(0..<bytes.count)
        #expect(parse(bytes, splitAt: splits, contentLimit: 20) == .rejected(.chunks))
    }

    @Test("has the limit of all content")
    func limit() {
        #expect(parse(Self.head + "0\r\n\r\n").isRequest)
        #expect(parse(Self.head + "1\r\n") == .rejected(.longContent))
        let text = Self.head + "5\r\n01234\r\n"
        #expect(parse(text + "5\r\n01234\r\n0\r\n\r\n", contentLimit: 10).isRequest)
        #expect(parse(text + "6", contentLimit: 10) == .rejected(.longContent))
        #expect(
            parse(Self.head + "ffffffffffffffffffff", contentLimit: 10) == .rejected(.longContent)
        )
    }

    @Test("has a limit for all that is not content")
    func framing() {
        for part in ["0", "1;" + "a", "0\r\nX: "] {
            let last = String(part.last ?? "0")
            let text = Self.head + part + String(repeating: last, count: 8300)
            #expect(parse(text, contentLimit: 50) == .rejected(.longChunkFraming))
        }
        let small = Self.head + String(repeating: "1\r\na\r\n", count: 5000)
        #expect(parse(small, contentLimit: 5000) == .rejected(.longChunkFraming))
        #expect(Rejection.statuses.contains(Rejection.longChunkFraming.status))
    }

    @Test("is not taken for the same request without it")
    func repeated() {
        var parser = RequestParser(contentLimit: 10)
        let empty = Array((Self.head + "0\r\n\r\n").utf8)
        let full = Array((Self.head + "1\r\na\r\n0\r\n\r\n").utf8)
        for bytes in [empty, empty, full, empty, full] {
            guard case .request(let request, let consumed) = parser.parse(bytes.span) else {
                return #expect(Bool(false), "no request")
            }
            #expect(consumed == bytes.count)
            #expect(request.body.count == (bytes == full ? 1 : 0))
        }
    }
}
