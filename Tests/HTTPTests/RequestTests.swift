import Testing

@testable import HTTP

@Suite("Request")
struct RequestTests {
    @Test(
        "has a path in each form of the target",
        arguments: [
            ("GET / HTTP/1.1", "/"),
            ("GET /a/b?c=/d HTTP/1.1", "/a/b"),
            ("GET /a%2Fb%20c+d HTTP/1.1", "/a/b c+d"),
            ("GET /%zz%4 HTTP/1.1", "/%zz%4"),
            ("GET /%C3%BC%FF HTTP/1.1", "/ü\u{FFFD}"),
            ("GET //a HTTP/1.1", "//a"),
            ("GET http://a.example:80/b?c HTTP/1.1", "/b"),
            ("GET HTTPS://a.example?c HTTP/1.1", "/"),
            ("OPTIONS * HTTP/1.1", "*"),
            ("OPTIONS http://a.example HTTP/1.1", "/"),
            ("CONNECT a.example:443 HTTP/1.1", "/"),
        ]
    )
    func path(line: String, path: String) {
        #expect(parsedRequest("\(line)\r\nHost: a\r\n\r\n")?.path == path)
    }

    @Test(
        "finds query parameters",
        arguments: [
            ("/", nil), ("/?", nil), ("/?name", ""), ("/?name=", ""), ("/?name=a", "a"),
            ("/?x=1&name=a+b%26c&y", "a b&c"), ("/?na%6De=a=b", "a=b"), ("/?name=1&name=2", "1"),
            ("/?&&name=1", "1"), ("/?names=1&nam=2", nil), ("http://a?name=1", "1"),
        ] as [(String, String?)]
    )
    func query(target: String, value: String?) {
        #expect(parsedRequest("GET \(target) HTTP/1.0\r\n\r\n")?.query("name") == value)
    }

    @Test(
        "finds all query parameters of a name, in their order",
        arguments: [
            ("/", []), ("/?name=1&x=3&name=2", ["1", "2"]),
            ("/?name&name=&name=a%26", ["", "", "a&"]),
            ("/?names=1&x=name", []),
        ] as [(String, [String])]
    )
    func queries(target: String, values: [String]) {
        #expect(parsedRequest("GET \(target) HTTP/1.0\r\n\r\n")?.queries("name") == values)
    }

    @Test("finds fields in any case, and joins those of one name")
    func fields() throws {
        let text =
            "GET / HTTP/1.1\r\nHOST:a\r\nAccept: text/plain\r\nX: \t y \t\r\naccept:b;q=1\r\n\r\n"
        let request = try #require(parsedRequest(text))
        #expect(request.header("host") == "a")
        #expect(request.header("ACCEPT") == "text/plain, b;q=1")
        #expect(request.headers("Accept") == ["text/plain", "b;q=1"])
        #expect(request.header("x") == "y")
        #expect(request.header("y") == nil)
    }

    @Test(
        "says whether the connection stays",
        arguments: [
            ("1.1", "", true), ("1.1", "Connection: close", false),
            ("1.1", "Connection: x, CLOSE ,y", false), ("1.1", "Connection: closed", true),
            ("1.1", "Connection: x\r\nConnection: close", false), ("1.0", "", false),
            ("1.0", "Connection: Keep-Alive", true),
            ("1.0", "Connection: keep-alive, close", false),
        ]
    )
    func keepsAlive(version: String, fields: String, expected: Bool) {
        let fields = fields.isEmpty ? "" : "\(fields)\r\n"
        let request = parsedRequest("GET / HTTP/\(version)\r\nHost: a\r\n\(fields)\r\n")
        #expect(request?.keepsAlive == expected)
    }

    @Test(
        "knows its method",
        arguments: [
            ("GET", .get), ("HEAD", .head), ("POST", .post), ("PATCH", .patch), ("get", .other),
            ("PROPFIND", .other), ("!#$%&'*+-.^_`|~09azAZ", .other),
        ] as [(String, HTTP.Method)]
    )
    func method(name: String, method: HTTP.Method) {
        #expect(parsedRequest("\(name) / HTTP/1.0\r\n\r\n")?.method == method)
    }

    @Test("carries its content and its sender")
    func content() throws {
        let text = "POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\na\0ü"
        let request = try #require(parsedRequest(text, contentLimit: 3))
        #expect(request.body == [0x61, 0, 0xC3])
        #expect(request.peer == "::1")
    }
}
