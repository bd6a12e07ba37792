import Testing

@testable import HTTP

@Suite("Response head")
struct ResponseTests {
    @Test("names type, exact length and the fate of the connection")
    func whole() {
        var response = Response.text(.ok, "grüße")
        response.headers = [("Retry-After", "3")]
        #expect(
            head(response, .close)
                == "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n"
                + "Content-Length: 8\r\nConnection: close\r\nRetry-After: 3\r\n\r\n"
        )
        #expect(head(Response(), .keepAlive).contains("\r\nConnection: keep-alive\r\n"))
        #expect(!head(Response(), .unsaid).contains("Connection"))
    }

    @Test(
        "has no length where there is no content",
        arguments: [
            (101, false), (200, true), (204, false), (304, false), (404, true), (599, true),
        ]
    )
    func length(code: Int, hasLength: Bool) {
        #expect(head(Response(Status(code))).contains("Content-Length: 0") == hasLength)
    }

    @Test("cannot be split by a value")
    func injection() {
        let response = Response(headers: [("X", "a\r\nSet-Cookie: b\0")])
        #expect(head(response).hasSuffix("\r\nX: a  Set-Cookie: b \r\n\r\n"))
    }

    @Test("of a refused method names the others")
    func allow() {
        let response = Response.methodNotAllowed(allow: [.get, .head])
        #expect(response.status == .methodNotAllowed)
        #expect(head(response).contains("\r\nAllow: GET, HEAD\r\n"))
    }

    private func head(
        _ response: Response,
        _ persistence: ResponseHead.Persistence = .unsaid
    ) -> String {
        var bytes: [UInt8] = []
        ResponseHead.append(response, persistence, to: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }
}
