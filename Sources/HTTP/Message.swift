import Glibc
import Posix

/// A request; its text is decoded when it is asked for.
package struct Request: Sendable {
    private let bytes: [UInt8]
    private let head: RequestHead
    package let body: [UInt8]
    /// The client's address without its port, or `unix`.
    package let peer: String
    /// The number of the connection that it came by; no two of a server have the same.
    package internal(set) var connection: UInt64 = 0

    init(_ head: RequestHead, in bytes: Span<UInt8>, content: [UInt8], peer: String) {
        self.bytes = [UInt8](copying: bytes.extracting(first: head.length))
        self.head = head
        self.body = content
        self.peer = peer
    }

    /// Whether the head is the same to the byte, and from the same peer: then it says the same.
    package func hasHead(of other: Request) -> Bool {
        bytes.span.isSame(as: other.bytes.span) && peer == other.peer
    }

    /// Bytes of its head.
    var headLength: Int { bytes.count }

    /// Whether these bytes begin with the same head.
    func isFirst(in received: Span<UInt8>) -> Bool {
        received.count >= bytes.count
            && received.extracting(first: bytes.count).isSame(as: bytes.span)
    }

    /// Whether a browser sends it, as far as its fields tell.
    var isFromBrowser: Bool { head.isFromBrowser }

    /// The names that it calls the server by, without ports: those of its Host field and of its target.
    var hosts: [String] {
        let target = String(decoding: bytes.span.extracting(head.line.target.authority))
        return (headers("Host") + [target]).map { text in
            let bytes = text.utf8.span
            return Authority(bytes).map { String(decoding: bytes.extracting($0.host)) } ?? ""
        }
    }

    package var method: Method { head.line.method }

    /// Whether the client can take another response on this connection (RFC 9112 §9.3).
    package var keepsAlive: Bool { head.keepsAlive }

    /// Whether the client speaks HTTP/1.0: it must not be sent 101, and wants to hear that its connection stays.
    package var isHTTP10: Bool { head.line.minorVersion == 0 }

    /// The target as it was sent.
    package var target: String { String(decoding: bytes.span.extracting(head.line.target.whole)) }

    /// The path with its escapes decoded; `*` for the asterisk form.
    package var path: String {
        let path = head.line.target.path
        return path.isEmpty ? "/" : bytes.span.extracting(path).percentDecoded(plusIsSpace: false)
    }

    /// The value of a query parameter, the first of several; see `queries`.
    package func query(_ name: String) -> String? {
        queries(name).first
    }

    /// The values of all query parameters of a name, decoded as forms are; empty for one without `=`.
    package func queries(_ name: String) -> [String] {
        let bytes = bytes.span
        var rest = head.line.target.query
        var values: [String] = []
        while !rest.isEmpty {
            let ampersand = bytes.firstIndex(of: 0x26, from: rest.lowerBound) ?? rest.upperBound
            let end = min(ampersand, rest.upperBound)
            let pair = bytes.extracting(rest.lowerBound..<end)
            rest = min(end + 1, rest.upperBound)..<rest.upperBound
            let mark = pair.firstIndex(of: 0x3D) ?? pair.count
            guard pair.extracting(first: mark).percentDecoded(plusIsSpace: true) == name else {
                continue
            }
            values.append(
                pair.extracting(droppingFirst: mark + 1).percentDecoded(plusIsSpace: true)
            )
        }
        return values
    }

    /// The value of a field, its name in any case; several lines are joined by commas (RFC 9110 §5.3).
    package func header(_ name: String) -> String? {
        let values = headers(name)
        return values.count > 1 ? values.joined(separator: ", ") : values.first
    }

    /// The values of all lines of a field, in their order.
    package func headers(_ name: String) -> [String] {
        var lines = FieldLines(head.fields)
        var values: [String] = []
        let bytes = bytes.span
        while let field = try? lines.next(in: bytes) {  // They were valid when the head was read.
            guard bytes.extracting(field.name).equalsIgnoringCase(name) else { continue }
            values.append(String(decoding: bytes.extracting(field.value)))
        }
        return values
    }

    /// Whether a field that is a comma-separated list holds `token`, in any case of its letters (RFC 9110 §5.6.1).
    package func lists(_ token: String, in name: String) -> Bool {
        headers(name).contains { value in
            let bytes = value.utf8.span
            var rest = 0..<bytes.count
            while let item = bytes.nextListItem(in: &rest) {
                if bytes.extracting(item).equalsIgnoringCase(token) { return true }
            }
            return false
        }
    }
}

extension Span where Element == UInt8 {
    /// Decodes `%` escapes (RFC 3986 §2.1); one that is malformed stays as it is.
    fileprivate func percentDecoded(plusIsSpace: Bool) -> String {
        guard !allSatisfy({ $0 != 0x25 && $0 != 0x2B }) else { return String(decoding: self) }
        var decoded: [UInt8] = []
        var index = 0
        while index < count {
            if self[index] == 0x25, index + 2 < count, let high = self[index + 1].hexadecimal,
                let low = self[index + 2].hexadecimal
            {
                decoded.append(high << 4 | low)
                index += 3
            } else {
                decoded.append(plusIsSpace && self[index] == 0x2B ? .space : self[index])
                index += 1
            }
        }
        return String(decoding: decoded.span)
    }
}

/// The request methods of RFC 9110 §9.3 and RFC 5789; names are case-sensitive.
package enum Method: String, Sendable, CaseIterable {
    case get = "GET"
    case head = "HEAD"
    case post = "POST"
    case put = "PUT"
    case delete = "DELETE"
    case connect = "CONNECT"
    case options = "OPTIONS"
    case trace = "TRACE"
    case patch = "PATCH"
    /// A well-formed name that is none of these.
    case other = ""

    init(_ name: Span<UInt8>) {
        // The two that matter are found without a String.
        if name.equals("GET") {
            self = .get
        } else if name.equals("HEAD") {
            self = .head
        } else {
            self = Method(rawValue: String(decoding: name)) ?? .other
        }
    }
}

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

/// Writes the head of a response.
enum ResponseHead {
    /// What a response says about the connection after it.
    enum Persistence {
        case close
        /// Said only to a client that speaks HTTP/1.0, for others it is the rule.
        case keepAlive
        case unsaid
    }

    static func append(
        _ response: Response,
        _ date: DateField,
        _ persistence: Persistence,
        to bytes: inout [UInt8]
    ) {
        bytes.append(contentsOf: "HTTP/1.1 ".utf8)
        bytes.append(decimal: response.status.code)
        bytes.append(.space)
        bytes.append(contentsOf: response.status.phrase.utf8)
        bytes.append(contentsOf: "\r\n".utf8)
        bytes.append(contentsOf: date.line)
        if let type = response.contentType { append("Content-Type", type, to: &bytes) }
        if !response.status.forbidsContent {
            bytes.append(contentsOf: "Content-Length: ".utf8)
            bytes.append(decimal: response.body.count)
            bytes.append(contentsOf: "\r\n".utf8)
        }
        switch persistence {
        case .close: bytes.append(contentsOf: "Connection: close\r\n".utf8)
        case .keepAlive: bytes.append(contentsOf: "Connection: keep-alive\r\n".utf8)
        case .unsaid: break
        }
        for (name, value) in response.headers { append(name, value, to: &bytes) }
        bytes.append(contentsOf: "\r\n".utf8)
    }

    private static func append(_ name: String, _ value: String, to bytes: inout [UInt8]) {
        bytes.append(contentsOf: name.utf8)
        bytes.append(contentsOf: ": ".utf8)
        let start = bytes.count
        bytes.append(contentsOf: value.utf8)
        for index in start..<bytes.count where bytes[index].isControl { bytes[index] = .space }
        bytes.append(contentsOf: "\r\n".utf8)
    }
}

/// The Date field (RFC 9110 §6.6.1), written once a second.
struct DateField {
    /// Seconds since 1970.
    private var second: UInt64
    /// With its line end.
    private(set) var line: [UInt8]

    init(_ time: WallTime) {
        second = time.nanoseconds / 1_000_000_000
        line = Self.line(second)
    }

    mutating func update(to time: WallTime) {
        guard second != time.nanoseconds / 1_000_000_000 else { return }
        self = DateField(time)
    }

    /// `Date: Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 §5.6.7).
    private static func line(_ second: UInt64) -> [UInt8] {
        var moment = time_t(clamping: second)
        var fields = unsafe tm()  // Unsafe for its pointer to the zone's name, which is not read.
        _ = unsafe gmtime_r(&moment, &fields)
        let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
        let months = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ]
        let day = unsafe days[Int(fields.tm_wday)]
        let month = unsafe months[Int(fields.tm_mon)]
        let date = unsafe "\(padded(fields.tm_mday)) \(month) \(fields.tm_year + 1900)"
        let clock = unsafe [fields.tm_hour, fields.tm_min, fields.tm_sec].map(padded)
        return Array("Date: \(day), \(date) \(clock.joined(separator: ":")) GMT\r\n".utf8)
    }

    private static func padded(_ number: CInt) -> String {
        number < 10 ? "0\(number)" : "\(number)"
    }
}

extension [UInt8] {
    /// Appends a number that is not negative, in digits.
    fileprivate mutating func append(decimal number: Int) {
        if number >= 10 { append(decimal: number / 10) }
        append(UInt8(0x30 + number % 10))
    }
}
