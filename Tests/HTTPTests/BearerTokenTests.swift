import Testing

@testable import HTTP

@Suite("Bearer tokens")
struct BearerTokenTests {
    @Test(
        "are what a file holds but for the white space at its end",
        arguments: [
            ("secret", "secret"), ("secret\n", "secret"), ("secret \r\n\n", "secret"),
            ("a.b-c_d~e+f/g==\n", "a.b-c_d~e+f/g=="), ("", nil), ("\n", nil), (" secret", nil),
            ("two words", nil), ("two\nlines", nil), ("nul\0", nil), ("sécret", nil),
        ] as [(String, String?)]
    )
    func content(_ content: String, token: String?) throws {
        let bearer = BearerToken(Array(content.utf8))
        guard let token else {
            #expect(bearer == nil)
            return
        }
        #expect(try #require(bearer).refusal(of: request("Bearer \(token)")) == nil)
    }

    @Test("have a length that fits a request", arguments: [(4096, true), (4097, false)])
    func length(_ count: Int, isToken: Bool) {
        #expect((BearerToken(Array(repeating: 0x61, count: count)) != nil) == isToken)
    }

    @Test(
        "are asked for, and refused when they are others",
        arguments: [
            (nil, "Bearer"), ("Bearer secret", nil), ("bEARER   secret", nil),
            ("Bearer", Self.invalid), ("Bearer ", Self.invalid), ("secret", Self.invalid),
            ("Bearer secre", Self.invalid), ("Bearer secrets", Self.invalid),
            ("Bearer secretsecret", Self.invalid), ("Bearer Secret", Self.invalid),
            ("Basic secret", Self.invalid), ("Bearer\tsecret", Self.invalid),
            ("Bearer secret\r\nAuthorization: Bearer secret", Self.invalid),
        ] as [(String?, String?)]
    )
    func refusal(_ field: String?, challenge: String?) throws {
        let token = try #require(BearerToken(Array("secret".utf8)))
        let refusal = token.refusal(of: try request(field))
        #expect(refusal?.headers.first?.value == challenge)
        #expect(refusal?.status ?? .unauthorized == .unauthorized)
    }

    private static let invalid = "Bearer error=\"invalid_token\""

    private func request(_ authorization: String?) throws -> Request {
        let field = authorization.map { "Authorization: \($0)\r\n" } ?? ""
        return try #require(parsedRequest("GET / HTTP/1.1\r\nHost: a\r\n\(field)\r\n"))
    }
}
