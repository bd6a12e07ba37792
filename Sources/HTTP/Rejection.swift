/// A request that the server refuses before a handler receives it; the connection is closed after the answer.
///
/// Where the RFCs leave a choice to the recipient, this server refuses: request smuggling depends on two parsers that
/// interpret the same message differently.
package struct Rejection: Error, Hashable, Sendable {
    package let status: Status
    /// The violated rule, sent to the client.
    package let reason: String

    private init(_ status: Status, _ reason: String) {
        self.status = status
        self.reason = reason
    }

    /// The statuses of all rejections.
    package static let statuses: [Status] = [
        .badRequest, .forbidden, .requestTimeout, .contentTooLarge, .uriTooLong,
        .expectationFailed, .headerTooLarge, .notImplemented, .unavailable, .versionNotSupported,
    ]

    // MARK: Lines of the head

    /// RFC 9112 §2.2: a recipient may accept a lone LF as a line end; this one does not.
    static let bareLineFeed = Rejection(.badRequest, "a line ends in LF without CR")
    /// RFC 9112 §2.2: a bare CR is invalid, or must be replaced by a space.
    static let bareCarriageReturn = Rejection(.badRequest, "CR without LF")
    /// RFC 9110 §5.5: CR, LF and NUL are dangerous in a value, other control characters invalid.
    static let control = Rejection(.badRequest, "a control character in the head")
    /// RFC 9110 §15.5.15.
    static let longTarget = Rejection(.uriTooLong, "the request line is too long")
    /// RFC 6585 §5.
    static let longHeader = Rejection(.headerTooLarge, "the header is too long")

    // MARK: Request line

    /// RFC 9112 §3: method, target and version, separated by single spaces; a malformed line must not be repaired.
    static let requestLine = Rejection(.badRequest, "the request line is malformed")
    /// RFC 9112 §3.2: the authority form is for CONNECT only, the asterisk for OPTIONS; RFC 9110 §4.2.4: no userinfo.
    static let target = Rejection(.badRequest, "the request target is malformed")
    /// RFC 9110 §15.6.6.
    static let version = Rejection(.versionNotSupported, "the version is not HTTP/1.0 or HTTP/1.1")

    // MARK: Fields

    /// RFC 9112 §5.2: a server must refuse obs-fold or replace it; §2.2: the first field cannot begin so either.
    static let folding = Rejection(.badRequest, "a field line begins with white space")
    /// RFC 9112 §5.1: 400 for white space before the colon; RFC 9110 §5.1: a name is a token.
    static let fieldName = Rejection(.badRequest, "a field name is malformed")
    /// RFC 9112 §3.2: one valid Host in each HTTP/1.1 request, and never two.
    static let host = Rejection(.badRequest, "Host is missing, repeated or malformed")
    /// RFC 9110 §10.1.1: an expectation that the server cannot meet.
    static let expectation = Rejection(.expectationFailed, "the expectation is unknown")

    // MARK: Content

    /// RFC 9112 §6.3: an invalid or differing length is an unrecoverable error; a repeated equal one may be refused.
    static let contentLength = Rejection(.badRequest, "Content-Length is repeated or malformed")
    /// RFC 9112 §6.1: the framing of such a message must be treated as faulty.
    static let codingInHTTP10 = Rejection(.badRequest, "Transfer-Encoding in HTTP/1.0")
    /// RFC 9112 §6.3: it might be an attempt at request smuggling, and should be handled as an error.
    static let bothLengths = Rejection(.badRequest, "Transfer-Encoding and Content-Length")
    /// RFC 9112 §6.3: without chunked as its final coding a request has no reliable length.
    static let notChunked = Rejection(.badRequest, "chunked is not the final transfer coding")
    /// RFC 9112 §6.1: a coding that the server does not support.
    static let unknownCoding = Rejection(.notImplemented, "the transfer coding is unknown")
    /// RFC 9110 §9.3.6: a CONNECT request has no content.
    static let connectContent = Rejection(.badRequest, "CONNECT with content")
    /// RFC 9112 §7.1: sizes are hexadecimal and lines end in CRLF; a malformed chunk must not be repaired.
    static let chunks = Rejection(.badRequest, "the chunked content is malformed")
    /// RFC 9112 §7.1.1 and §7.1.2: extensions and trailers need a limit.
    static let longChunkFraming = Rejection(
        .contentTooLarge,
        "chunk sizes, extensions and trailers are too long"
    )
    /// RFC 9110 §15.5.14.
    static let longContent = Rejection(.contentTooLarge, "the content is too long")

    // MARK: Policies of the server

    /// RFC 9110 §15.5.9.
    static let timeout = Rejection(.requestTimeout, "the request did not arrive in time")
    /// RFC 9110 §15.5.4; see `HostPolicy`.
    static let foreignHost = Rejection(
        .forbidden,
        "browsers may not use this host name for this server: allow it with web.allowed-host"
    )
    /// RFC 9110 §15.6.4.
    static let tooManyConnections = Rejection(
        .unavailable,
        "too many connections, and this request was still incomplete"
    )
}
