import Glibc
import Posix

/// A request, whose text is decoded on access.
package struct Request: Sendable {
    /// The bytes of the head.
    private let bytes: [UInt8]
    private let head: RequestHead
    package let body: [UInt8]
    /// The client's address without its port, or `unix`.
    package let peer: String
    /// The number of the connection that it arrived on; a server uses each number once.
    package internal(set) var connection: UInt64 = 0

    init(_ head: RequestHead, in bytes: Span<UInt8>, content: [UInt8], peer: String) {
        self.bytes = [UInt8](copying: bytes.extracting(first: head.length))
        self.head = head
        self.body = content
        self.peer = peer
    }

    package var method: Method { head.method }

    /// Whether the client accepts another response on this connection (RFC 9112 §9.3).
    package var keepsAlive: Bool { head.keepsAlive }

    /// Whether the client uses HTTP/1.0: such a client does not understand 101, and needs `Connection: keep-alive`.
    package var isHTTP10: Bool { head.minorVersion == 0 }

    /// Whether it has a field that browsers send and other programs do not.
    var isFromBrowser: Bool { head.isFromBrowser }

    /// The target as it was sent.
    package var target: String { String(decoding: bytes.span.extracting(head.target.text)) }

    /// The path with its escapes decoded; `*` for the asterisk form.
    package var path: String {
        let path = head.target.path
        return path.isEmpty ? "/" : bytes.span.extracting(path).percentDecoded(plusIsSpace: false)
    }

    /// The first value of a query parameter; see `queries`.
    package func query(_ name: String) -> String? {
        queries(name).first
    }

    /// The values of all query parameters of a name, decoded as forms are; empty for one without `=`.
    package func queries(_ name: String) -> [String] {
        let bytes = bytes.span
        var rest = head.target.query
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

    /// The value of a field, its name in any case; commas join the values of several lines (RFC 9110 §5.3).
    package func header(_ name: String) -> String? {
        let values = headers(name)
        return values.count > 1 ? values.joined(separator: ", ") : values.first
    }

    /// The values of all lines of a field, in their order.
    package func headers(_ name: String) -> [String] {
        head.values(of: name, in: bytes.span)
    }

    /// Whether a field that is a comma-separated list contains `token`, in any case (RFC 9110 §5.6.1).
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

    /// The hosts in its Host field and its target, without ports.
    var hosts: [String] {
        let authority = String(decoding: bytes.span.extracting(head.target.authority))
        return (headers("Host") + [authority]).map { text in
            let bytes = text.utf8.span
            return Authority(bytes).map { String(decoding: bytes.extracting($0.host)) } ?? ""
        }
    }

    /// Whether the peer and all bytes of the head are the same: then all properties but the body and the connection are.
    package func hasHead(of other: Request) -> Bool {
        bytes.span.isSame(as: other.bytes.span) && peer == other.peer
    }

    /// Whether `received` starts with the same head.
    func hasHead(atStartOf received: Span<UInt8>) -> Bool {
        received.count >= bytes.count
            && received.extracting(first: bytes.count).isSame(as: bytes.span)
    }

    var headLength: Int { bytes.count }
}

extension Span where Element == UInt8 {
    /// Decodes `%` escapes (RFC 3986 §2.1); malformed ones remain as they are.
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
    /// Any other well-formed name.
    case other = ""

    init(_ name: Span<UInt8>) {
        // The frequent ones need no String.
        if name.equals("GET") {
            self = .get
        } else if name.equals("HEAD") {
            self = .head
        } else {
            self = Method(rawValue: String(decoding: name)) ?? .other
        }
    }
}

/// A response, as a handler returns it.
package struct Response: Sendable {
    package var status: Status
    /// `nil` sends no Content-Type: for a response without content.
    package var contentType: String?
    /// Further fields; control characters in a value are sent as spaces, so that no value can add a field.
    package var headers: [(name: String, value: String)]
    package var body: [UInt8]
    /// Requests an `AcknowledgedResponse` with this value once the client's kernel has acknowledged the last byte.
    package var tag: UInt64?
    /// Requests that `Server.removeClosed` reports when no further request can arrive on this connection.
    package var reportsEnd = false

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

    init(_ rejection: Rejection) {
        self = .text(rejection.status, rejection.reason)
    }

    /// Plain text, to which a line break is added.
    package static func text(_ status: Status, _ text: String) -> Response {
        Response(status, contentType: "text/plain; charset=utf-8", body: Array("\(text)\n".utf8))
    }

    package static var notFound: Response { .text(.notFound, "not found") }

    /// The answer to a method that a path does not support: 200 to OPTIONS (RFC 9110 §9.3.7), 405 to any other.
    ///
    /// `Allow` lists the supported methods, as RFC 9110 §15.5.6 requires.
    package static func allowing(_ methods: [Method], for method: Method) -> Response {
        var response = Response()
        if method != .options { response = text(.methodNotAllowed, "method not allowed") }
        let names = (methods + [.options]).map(\.rawValue)
        response.headers = [("Allow", names.joined(separator: ", "))]
        return response
    }

    /// What the response says about the connection.
    enum ConnectionField {
        case close
        /// Sent only to HTTP/1.0 clients; the default of HTTP/1.1.
        case keepAlive
        case omitted
    }

    func appendHead(to bytes: inout [UInt8], _ date: DateField, _ connection: ConnectionField) {
        bytes.append(contentsOf: "HTTP/1.1 ".utf8)
        bytes.append(decimal: status.code)
        bytes.append(.space)
        bytes.append(contentsOf: status.phrase.utf8)
        bytes.append(contentsOf: "\r\n".utf8)
        bytes.append(contentsOf: date.line)
        if let contentType { bytes.append(field: "Content-Type", contentType) }
        if !status.forbidsContent {
            bytes.append(contentsOf: "Content-Length: ".utf8)
            bytes.append(decimal: body.count)
            bytes.append(contentsOf: "\r\n".utf8)
        }
        switch connection {
        case .close: bytes.append(contentsOf: "Connection: close\r\n".utf8)
        case .keepAlive: bytes.append(contentsOf: "Connection: keep-alive\r\n".utf8)
        case .omitted: break
        }
        for (name, value) in headers { bytes.append(field: name, value) }
        bytes.append(contentsOf: "\r\n".utf8)
    }
}

extension [UInt8] {
    fileprivate mutating func append(field name: String, _ value: String) {
        append(contentsOf: name.utf8)
        append(contentsOf: ": ".utf8)
        let start = count
        append(contentsOf: value.utf8)
        for index in start..<count where self[index].isControl { self[index] = .space }
        append(contentsOf: "\r\n".utf8)
    }

    /// Appends the digits of a number that is not negative.
    fileprivate mutating func append(decimal number: Int) {
        if number >= 10 { append(decimal: number / 10) }
        append(UInt8(0x30 + number % 10))
    }
}

/// The Date field (RFC 9110 §6.6.1), formatted once a second.
struct DateField {
    /// Seconds since 1970.
    private var second: UInt64
    /// The field with its line end.
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

/// A status code (RFC 9110 §15).
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

    /// The usual phrase; empty for a code without one in this server, as RFC 9112 §4 allows.
    package var phrase: String { Self.phrases[code] ?? "" }

    /// Whether a response with this status has no content (RFC 9110 §6.4.1).
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
