import Posix
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
                == "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/plain; charset=utf-8\r\n"
                + "Content-Length: 8\r\nConnection: close\r\nRetry-After: 3\r\n\r\n"
        )
        #expect(head(Response(), .keepAlive).contains("\r\nConnection: keep-alive\r\n"))
        #expect(!head(Response(), .omitted).contains("Connection"))
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
        let response = Response.allowing([.get, .head], for: .post)
        #expect(response.status == .methodNotAllowed)
        #expect(head(response).contains("\r\nAllow: GET, HEAD, OPTIONS\r\n"))
    }

    @Test("to OPTIONS names the methods, and nothing else")
    func options() {
        let response = Response.allowing([.post], for: .options)
        #expect(
            head(response)
                == "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                + "Content-Length: 0\r\nAllow: POST, OPTIONS\r\n\r\n"
        )
    }

    @Test(
        "says when it was sent",
        arguments: [
            (0, "Thu, 01 Jan 1970 00:00:00"), (951_782_400, "Tue, 29 Feb 2000 00:00:00"),
            (1_796_057_999, "Mon, 30 Nov 2026 16:59:59"),
            (4_102_444_800, "Fri, 01 Jan 2100 00:00:00"),
        ] as [(UInt64, String)]
    )
    func date(seconds: UInt64, text: String) {
        var date = DateField(WallTime(nanoseconds: 1))
        date.update(to: WallTime(nanoseconds: seconds * 1_000_000_000 + 999_999_999))
        #expect(String(decoding: date.line, as: UTF8.self) == "Date: \(text) GMT\r\n")
    }

    private func head(
        _ response: Response,
        _ connection: Response.ConnectionField = .omitted
    ) -> String {
        var bytes: [UInt8] = []
        let date = DateField(WallTime(nanoseconds: 784_111_777_999_999_999))
        response.appendHead(to: &bytes, date, connection)
        return String(decoding: bytes, as: UTF8.self)
    }
}
