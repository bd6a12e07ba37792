/// What a handler answers.
package struct Response: Sendable {
    package var status: Status
    /// `nil` sends no Content-Type: for a response without content.
    package var contentType: String?
    /// Further fields; a line break in one is sent as a space, so that it cannot become a field of its own.
    package var headers: [(name: String, value: String)]
    package var body: [UInt8]
    /// Asks for a `Delivery` that carries it, once the client's kernel has acknowledged the last byte.
    package var tag: UInt64?
    /// Asks to be told by `Server.takeEnded` when no further request can come by this connection.
    package var tellsEnd = false

    package init(
        _ status: Status = .ok,
        contentType: String? = nil,
        headers: [(name: String, value: String)] = [],
        body: [UInt8] = []
    ) {
        self.status = status
        self.contentType = contentType
        self.headers = headers
        self.body = body
    }

    /// Plain text; a line break is added.
    package static func text(_ status: Status, _ text: String) -> Response {
        Response(status, contentType: "text/plain; charset=utf-8", body: Array("\(text)\n".utf8))
    }

    package static var notFound: Response { .text(.notFound, "not found") }

    /// Refuses a method; RFC 9110 §15.5.6 wants the others named in `Allow`.
    package static func methodNotAllowed(allow methods: [Method]) -> Response {
        var response = text(.methodNotAllowed, "method not allowed")
        response.headers = [("Allow", methods.map(\.rawValue).joined(separator: ", "))]
        return response
    }

    init(_ rejection: Rejection) {
        self = .text(rejection.status, rejection.reason)
    }
}
