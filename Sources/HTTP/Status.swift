/// A response's status code, RFC 9110 §15.
package struct Status: Hashable, Sendable {
    package let code: Int

    /// `code` is from 100 to 599.
    package init(_ code: Int) {
        precondition((100...599).contains(code), "no status code")
        self.code = code
    }

    package static let switchingProtocols = Status(101)
    package static let ok = Status(200)
    package static let accepted = Status(202)
    package static let noContent = Status(204)
    package static let badRequest = Status(400)
    package static let unauthorized = Status(401)
    package static let forbidden = Status(403)
    package static let notFound = Status(404)
    package static let methodNotAllowed = Status(405)
    package static let requestTimeout = Status(408)
    package static let conflict = Status(409)
    package static let lengthRequired = Status(411)
    package static let contentTooLarge = Status(413)
    package static let uriTooLong = Status(414)
    package static let expectationFailed = Status(417)
    package static let upgradeRequired = Status(426)
    package static let headerTooLarge = Status(431)
    package static let internalError = Status(500)
    package static let notImplemented = Status(501)
    package static let unavailable = Status(503)
    package static let versionNotSupported = Status(505)
    package static let insufficientStorage = Status(507)

    /// The usual phrase; empty, which RFC 9112 §4 allows, for a code that this server has no phrase for.
    package var phrase: String { Self.phrases[code] ?? "" }

    /// Whether a response of this status has no content at all (RFC 9110 §6.4.1).
    var forbidsContent: Bool { code < 200 || code == 204 || code == 304 }

    private static let phrases: [Int: String] = [
        101: "Switching Protocols", 200: "OK", 202: "Accepted", 204: "No Content",
        400: "Bad Request",
        401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
        408: "Request Timeout", 409: "Conflict", 411: "Length Required", 413: "Content Too Large",
        414: "URI Too Long", 417: "Expectation Failed", 426: "Upgrade Required",
        431: "Request Header Fields Too Large", 500: "Internal Server Error",
        501: "Not Implemented", 503: "Service Unavailable", 505: "HTTP Version Not Supported",
        507: "Insufficient Storage",
    ]
}
