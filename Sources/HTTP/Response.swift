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

    /// Answers a method that a path does not serve: OPTIONS by 200 (RFC 9110 §9.3.7), any other by 405.
    ///
    /// RFC 9110 §15.5.6 wants the methods that it serves named in `Allow`.
    package static func allowing(_ methods: [Method], for method: Method) -> Response {
        var response = Response()
        if method != .options { response = text(.methodNotAllowed, "method not allowed") }
        let names = (methods + [.options]).map(\.rawValue)
        response.headers = [("Allow", names.joined(separator: ", "))]
        return response
    }

    init(_ rejection: Rejection) {
        self = .text(rejection.status, rejection.reason)
    }
}
