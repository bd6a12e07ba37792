/// A request that is refused before a handler sees it; the connection is closed after the answer.
///
/// Where the RFC lets a recipient choose, this server refuses: two parsers that read a message differently are how a
/// request is smuggled past the first of them.
package struct Rejection: Error, Hashable, Sendable {
    package let status: Status
    /// The rule that was broken, for the person who reads the answer.
    package let reason: String

    init(_ status: Status, _ reason: String) {
        self.status = status
        self.reason = reason
    }

    /// The statuses of all that follow.
    package static let statuses: [Status] = [
        .badRequest, .forbidden, .requestTimeout, .contentTooLarge, .uriTooLong,
        .expectationFailed, .headerTooLarge, .notImplemented, .unavailable, .versionNotSupported,
    ]
}

// What splits the head into lines.
extension Rejection {
    /// RFC 9112 §2.2: a recipient may take a lone LF as a line end; this one does not.
    static let bareLineFeed = Rejection(.badRequest, "a line ends in LF without CR")
    /// RFC 9112 §2.2: a bare CR is invalid, or to be replaced by a space.
    static let bareCarriageReturn = Rejection(.badRequest, "CR without LF")
    /// RFC 9110 §5.5: CR, LF and NUL are dangerous in a value, other controls invalid.
    static let control = Rejection(.badRequest, "a control character in the head")
    /// RFC 9110 §15.5.15.
    static let longTarget = Rejection(.uriTooLong, "the request line is too long")
    /// RFC 6585 §5.
    static let longHeader = Rejection(.headerTooLarge, "the header is too long")
}

// The request line.
extension Rejection {
    /// RFC 9112 §3: method, target and version, with one space between; a broken line is not to be repaired.
    static let requestLine = Rejection(.badRequest, "the request line is malformed")
    /// RFC 9112 §3.2: only CONNECT takes the authority form, only OPTIONS the asterisk; RFC 9110 §4.2.4: no userinfo.
    static let target = Rejection(.badRequest, "the request target is malformed")
    /// RFC 9110 §15.6.6.
    static let version = Rejection(.versionNotSupported, "the version is not HTTP/1.0 or HTTP/1.1")
}

// The fields.
extension Rejection {
    /// RFC 9112 §5.2: a server must refuse obs-fold or replace it, and §2.2: nor may the first field begin so.
    static let folding = Rejection(.badRequest, "a field line begins with white space")
    /// RFC 9112 §5.1: no white space before the colon, or 400; RFC 9110 §5.1: a name is a token.
    static let fieldName = Rejection(.badRequest, "a field name is malformed")
    /// RFC 9112 §3.2: one valid Host in each HTTP/1.1 request, and never two.
    static let host = Rejection(.badRequest, "Host is missing, repeated or malformed")
    /// RFC 9110 §10.1.1: an expectation that the server cannot meet.
    static let expectation = Rejection(.expectationFailed, "the expectation is unknown")
}

// The length of the content.
extension Rejection {
    /// RFC 9112 §6.3: an invalid or differing length is an unrecoverable error; a repeated equal one may be refused.
    static let contentLength = Rejection(.badRequest, "Content-Length is repeated or malformed")
    /// RFC 9112 §6.1: such a message must be treated as if its framing is faulty.
    static let codingInHTTP10 = Rejection(.badRequest, "Transfer-Encoding in HTTP/1.0")
    /// RFC 9112 §6.3: it might be an attempt at smuggling, and ought to be handled as an error.
    static let bothLengths = Rejection(.badRequest, "Transfer-Encoding and Content-Length")
    /// RFC 9112 §6.3: without chunked as its final coding a request has no reliable length.
    static let notChunked = Rejection(.badRequest, "chunked is not the final transfer coding")
    /// RFC 9112 §6.1: a coding that the server does not understand.
    static let unknownCoding = Rejection(.notImplemented, "the transfer coding is unknown")
    /// RFC 9110 §9.3.6: a CONNECT request has no content.
    static let connectContent = Rejection(.badRequest, "CONNECT with content")
    /// RFC 9112 §7.1: sizes are hexadecimal, lines end in CRLF; chunks of doubtful length are not to be repaired.
    static let chunks = Rejection(.badRequest, "the chunked content is malformed")
    /// RFC 9112 §7.1.1 and §7.1.2: extensions and trailers need a limit.
    static let longChunkFraming = Rejection(
        .contentTooLarge,
        "chunk sizes, extensions and trailers are too long"
    )
    /// RFC 9110 §15.5.14.
    static let longContent = Rejection(.contentTooLarge, "the content is too long")
}

// The server's own.
extension Rejection {
    /// RFC 9110 §15.5.9.
    static let late = Rejection(.requestTimeout, "the request took too long")
    /// RFC 9110 §15.5.4; see `HostPolicy`.
    static let foreignHost = Rejection(
        .forbidden,
        "a browser may not call this server by this name: allow it by web.allowed-host"
    )
    /// RFC 9110 §15.6.4.
    static let crowded = Rejection(
        .unavailable,
        "too many connections, this request was not finished in time"
    )
}
