import Glibc
import Posix

/// Reads HTTP/1.1 requests (RFC 9112) from the bytes of a connection.
///
/// The parser does no input and output, and its result does not depend on how the bytes were split on arrival.
package struct RequestParser: Sendable {
    /// Maximum size of a head, from the request line to the empty line.
    private let headLimit: Int
    /// Maximum size of the content; 0 refuses any.
    private let contentLimit: Int

    private var scanner = HeadScanner()
    private var head: RequestHead?
    private var chunks: ChunkedContent?
    /// The last request, if it was short and had no content: a scraper sends the same request again and again.
    ///
    /// Parsing it each time would take 29,000 instructions, beside 75,000 for everything else in a scrape of 267 series.
    private var last: Request?

    /// Maximum size of a remembered head.
    private static let maxRememberedBytes = 1024

    package enum Outcome: Sendable {
        case needMore
        /// A request, and the number of bytes that it occupied.
        case request(Request, consumed: Int)
        /// The following bytes cannot be interpreted: the server answers and closes the connection.
        case reject(Rejection)
    }

    package init(headLimit: Int = 8192, contentLimit: Int = 0) {
        self.headLimit = headLimit
        self.contentLimit = contentLimit
    }

    /// Whether the head has arrived and the client waits for `100 Continue` before it sends the content.
    package var expectsContinue: Bool { head?.expectsContinue ?? false }

    /// Continues to read `bytes`, which start where the last request ended and include all bytes of earlier calls.
    package mutating func parse(_ bytes: Span<UInt8>, peer: String = "") -> Outcome {
        if let last, last.peer == peer, last.hasHead(atStartOf: bytes) {
            return finish(last, consumed: last.headLength)
        }
        do throws(Rejection) {
            guard let head = try completeHead(in: bytes),
                let (content, end) = try completeContent(after: head, in: bytes)
            else { return .needMore }
            let request = Request(head, in: bytes, content: content, peer: peer)
            last = end <= Self.maxRememberedBytes && end == head.length ? request : nil
            return finish(request, consumed: end)
        } catch {
            return .reject(error)
        }
    }

    private mutating func finish(_ request: Request, consumed: Int) -> Outcome {
        (scanner, head, chunks) = (HeadScanner(), nil, nil)
        return .request(request, consumed: consumed)
    }

    private mutating func completeHead(in bytes: Span<UInt8>) throws(Rejection) -> RequestHead? {
        if let head { return head }
        guard let (line, end) = try scanner.scan(bytes, limit: headLimit) else { return nil }
        head = try RequestHead(bytes, requestLine: line, end: end, contentLimit: contentLimit)
        return head
    }

    /// The content and its end; `nil` until all of it has arrived.
    private mutating func completeContent(
        after head: RequestHead,
        in bytes: Span<UInt8>
    ) throws(Rejection) -> (content: [UInt8], end: Int)? {
        switch head.framing {
        case .length(let length):
            guard bytes.count - head.length >= length else { return nil }
            let end = head.length + length
            return ([UInt8](copying: bytes.extracting(head.length..<end)), end)
        case .chunked:
            var content =
                chunks
                ?? ChunkedContent(
                    from: head.length,
                    contentLimit: contentLimit,
                    framingLimit: headLimit + contentLimit
                )
            chunks = nil  // A second owner would copy the content on each arrival.
            guard let end = try content.end(in: bytes) else {
                chunks = content
                return nil
            }
            return (content.bytes, end)
        }
    }
}

/// Finds the request line and the end of a head, and examines each byte once, however the bytes arrive.
private struct HeadScanner {
    private var offset = 0
    /// Start of the current line.
    private var lineStart = 0
    /// Start of the request line; RFC 9112 §2.2 has a server skip an empty line before it.
    private var start = 0
    /// End of the request line, before its CR.
    private var requestLineEnd: Int?

    /// The request line without its CRLF, and the end of the head after its empty line; `nil` until that has arrived.
    mutating func scan(
        _ bytes: Span<UInt8>,
        limit: Int
    ) throws(Rejection) -> (requestLine: Range<Int>, end: Int)? {
        let available = min(bytes.count, limit)
        while offset < available {
            let byte = bytes[offset]
            let followsReturn = offset > lineStart && bytes[offset - 1] == .carriageReturn
            offset += 1
            if byte == .lineFeed {
                guard followsReturn else { throw .bareLineFeed }
                let isEmpty = offset - lineStart == 2
                if let requestLineEnd {
                    if isEmpty { return (start..<requestLineEnd, offset) }
                } else if isEmpty, start == 0 {
                    start = offset
                } else {
                    requestLineEnd = offset - 2
                }
                lineStart = offset
            } else if followsReturn {
                throw .bareCarriageReturn
            } else if byte.isControl, byte != .carriageReturn {
                throw .control
            }
        }
        guard available < limit else { throw requestLineEnd == nil ? .longTarget : .longHeader }
        return nil
    }
}

/// A valid head, whose text stays in the bytes that it was read from: ranges are positions in them.
struct RequestHead: Sendable {
    let method: Method
    let target: Target
    /// 0 or 1: the digit after `HTTP/1.`.
    let minorVersion: Int
    /// End of the head, after its empty line.
    let length: Int
    let framing: ContentFraming
    /// Whether the client accepts another response on this connection (RFC 9112 §9.3).
    let keepsAlive: Bool
    let expectsContinue: Bool
    /// Whether it has a field that browsers send and other programs do not.
    let isFromBrowser: Bool
    /// The field lines.
    private let fields: Range<Int>

    init(
        _ bytes: Span<UInt8>,
        requestLine line: Range<Int>,
        end: Int,
        contentLimit: Int
    ) throws(Rejection) {
        guard let first = bytes.firstIndex(of: .space, from: line.lowerBound),
            first < line.upperBound,
            let second = bytes.firstIndex(of: .space, from: first + 1), second < line.upperBound
        else { throw .requestLine }
        let name = bytes.extracting(line.lowerBound..<first)
        guard !name.isEmpty, name.allSatisfy(\.isToken) else { throw .requestLine }
        method = Method(name)
        minorVersion = try Self.version(bytes.extracting(second + 1..<line.upperBound))
        target = try Target(first + 1..<second, of: method, in: bytes)

        fields = line.upperBound + 2..<end - 2
        length = end
        var lines = FieldIterator(fields)
        var message = MessageFraming()
        while let field = try lines.next(in: bytes) {
            try message.add(bytes.extracting(field.name), bytes.extracting(field.value))
        }
        framing = try message.framing(minorVersion: minorVersion, limit: contentLimit)
        isFromBrowser = message.isFromBrowser
        // The bytes after a CONNECT may be meant for a tunnel: they are neither content nor another request.
        if method == .connect, framing != .length(0) { throw .connectContent }
        keepsAlive = method != .connect && message.keepsAlive(minorVersion: minorVersion)
        expectsContinue = try message.expectsContinue(minorVersion: minorVersion)
    }

    /// `HTTP/` and two digits around a dot; the name is case-sensitive (RFC 9112 §2.3).
    private static func version(_ text: Span<UInt8>) throws(Rejection) -> Int {
        guard text.count == 8, text.extracting(first: 5).equals("HTTP/"), text[5].isDigit,
            text[6] == 0x2E, text[7].isDigit
        else { throw .requestLine }
        guard text[5] == 0x31, text[7] <= 0x31 else { throw .version }
        return Int(text[7] - 0x30)
    }

    /// The values of all lines of a field in their order; its name in any case.
    func values(of name: String, in bytes: Span<UInt8>) -> [String] {
        var lines = FieldIterator(fields)
        var values: [String] = []
        while let field = try? lines.next(in: bytes) {  // All were valid when the head was read.
            guard bytes.extracting(field.name).equalsIgnoringCase(name) else { continue }
            values.append(String(decoding: bytes.extracting(field.value)))
        }
        return values
    }
}

/// A request target in one of the four forms of RFC 9112 §3.2.
struct Target: Sendable {
    let text: Range<Int>
    /// Empty in the authority form, and in an absolute form without a path, which means `/`.
    let path: Range<Int>
    /// The text after the first `?`.
    let query: Range<Int>
    /// Host and port of the absolute and the authority form; empty in the others.
    let authority: Range<Int>

    fileprivate init(
        _ range: Range<Int>,
        of method: Method,
        in bytes: Span<UInt8>
    ) throws(Rejection) {
        text = range
        let content = bytes.extracting(range)
        // No fragment (RFC 9112 §3.2), and no byte that a URI must escape.
        guard !content.isEmpty, content.allSatisfy({ $0.isVisible && $0 != 0x23 }) else {
            throw .target
        }
        let (authority, pathStart) = try Self.parts(content, of: method)
        let start = range.lowerBound
        self.authority = start + authority.lowerBound..<start + authority.upperBound
        let mark = bytes.firstIndex(of: 0x3F, from: start + pathStart) ?? range.upperBound
        path = start + pathStart..<min(mark, range.upperBound)
        query = min(mark + 1, range.upperBound)..<range.upperBound
    }

    /// The authority, if the target has one, and the start of the path after it.
    private static func parts(
        _ text: Span<UInt8>,
        of method: Method
    ) throws(Rejection) -> (authority: Range<Int>, pathStart: Int) {
        if method == .connect {
            guard let authority = Authority(text), authority.port != nil else { throw .target }
            return (0..<text.count, text.count)
        }
        if text[0] == 0x2F { return (0..<0, 0) }
        if text.count == 1, text[0] == 0x2A, method == .options { return (0..<0, 0) }
        let schemes = ["http://", "https://"]
        let scheme = schemes.first { text.extracting(first: $0.utf8.count).equalsIgnoringCase($0) }
        guard let start = scheme?.utf8.count else { throw .target }
        var end = start
        while end < text.count, text[end] != 0x2F, text[end] != 0x3F { end += 1 }
        guard Authority(text.extracting(start..<end)) != nil else { throw .target }
        return (start..<end, end)
    }
}

/// A host, and a port that may be empty or missing (RFC 3986 §3.2.2 and §3.2.3).
struct Authority {
    /// Never empty.
    let host: Range<Int>
    let port: Range<Int>?

    init?(_ text: Span<UInt8>) {
        var end = 0
        if text.first == 0x5B {
            guard let bracket = text.firstIndex(of: 0x5D) else { return nil }
            guard Self.isLiteral(text.extracting(1..<bracket)) else { return nil }
            end = bracket + 1
        } else {
            end = text.firstIndex(of: .colon) ?? text.count
            guard end > 0, Self.isName(text.extracting(first: end)) else { return nil }
        }
        host = 0..<end
        guard end < text.count else {
            port = nil
            return
        }
        guard text[end] == .colon else { return nil }
        port = end + 1..<text.count
        let digits = text.extracting(droppingFirst: end + 1)
        guard digits.isEmpty || digits.allSatisfy(\.isDigit) && digits.count <= 5,
            digits.isEmpty || UInt16(String(decoding: digits)) != nil
        else { return nil }
    }

    /// `IPv6address` or `IPvFuture`.
    private static func isLiteral(_ text: Span<UInt8>) -> Bool {
        guard text.first?.lowercased == 0x76 else {
            guard case .v6? = IPAddress(String(decoding: text)) else { return false }
            return true
        }
        guard let dot = text.firstIndex(of: 0x2E), dot > 1, dot + 1 < text.count else {
            return false
        }
        return text.extracting(1..<dot).allSatisfy { $0.hexadecimal != nil }
            && text.extracting(droppingFirst: dot + 1).allSatisfy { $0.isName || $0 == .colon }
    }

    /// `reg-name`, which includes IPv4 addresses.
    private static func isName(_ text: Span<UInt8>) -> Bool {
        for index in text.indices {
            if text[index] == 0x25 {
                guard index + 2 < text.count, text[index + 1].hexadecimal != nil,
                    text[index + 2].hexadecimal != nil
                else { return false }
            } else if !text[index].isName {
                return false
            }
        }
        return true
    }
}

/// Walks over the field lines of a head, whose line ends the scanner has checked.
private struct FieldIterator {
    private var offset: Int
    private let end: Int

    /// `range` starts after the request line and ends before the empty line.
    init(_ range: Range<Int>) {
        (offset, end) = (range.lowerBound, range.upperBound)
    }

    /// Name and value of the next line, checked by RFC 9112 §5, the value without white space around it; `nil` at the end.
    mutating func next(
        in bytes: Span<UInt8>
    ) throws(Rejection) -> (name: Range<Int>, value: Range<Int>)? {
        guard offset < end, let lineFeed = bytes.firstIndex(of: .lineFeed, from: offset) else {
            return nil
        }
        let (start, lineEnd) = (offset, lineFeed - 1)
        offset = lineFeed + 1
        guard bytes[start] != .space, bytes[start] != .tab else { throw .folding }
        var colon = start
        while colon < lineEnd, bytes[colon].isToken { colon += 1 }
        guard colon > start, colon < lineEnd, bytes[colon] == .colon else { throw .fieldName }
        return (start..<colon, bytes.trimmed(colon + 1..<lineEnd))
    }
}

/// How the end of the content is determined.
enum ContentFraming: Equatable {
    case length(Int)
    case chunked
}

/// Collects the fields that concern the server itself: framing, persistence of the connection, and kind of client.
private struct MessageFraming {
    private var hosts = 0
    private var contentLength: Int?
    /// `.chunked` when that is the only transfer coding; otherwise the reason to refuse the codings.
    private var codings: Result<ContentFraming, Rejection>?
    private var closes = false
    private var staysAlive = false
    private var expectation: Bool?
    private(set) var isFromBrowser = false

    mutating func add(_ name: Span<UInt8>, _ value: Span<UInt8>) throws(Rejection) {
        switch name.count {  // The length already distinguishes most names.
        case 4 where name.equalsIgnoringCase("host"):
            hosts += 1
            // An empty one stands for a target that has no authority (RFC 9112 §3.2).
            guard hosts == 1, value.isEmpty || Authority(value) != nil else { throw .host }
        case 6 where name.equalsIgnoringCase("expect"):
            expectation = expectation ?? true && value.equalsIgnoringCase("100-continue")
        case 6 where name.equalsIgnoringCase("origin"): isFromBrowser = true
        case 7 where name.equalsIgnoringCase("referer"): isFromBrowser = true
        case 10 where name.equalsIgnoringCase("user-agent"):
            if value.contains("Mozilla") { isFromBrowser = true }
        case 10 where name.equalsIgnoringCase("connection"): addConnection(value)
        case 14 where name.equalsIgnoringCase("content-length"): try addLength(value)
        case 14 where name.equalsIgnoringCase("sec-fetch-site"): isFromBrowser = true
        case 15 where name.equalsIgnoringCase("accept-language"): isFromBrowser = true
        case 17 where name.equalsIgnoringCase("transfer-encoding"): addCodings(value)
        default: break
        }
    }

    private mutating func addConnection(_ value: Span<UInt8>) {
        var rest = 0..<value.count
        while let item = value.nextListItem(in: &rest) {
            let option = value.extracting(item)
            if option.equalsIgnoringCase("close") { closes = true }
            if option.equalsIgnoringCase("keep-alive") { staysAlive = true }
        }
    }

    /// Accepts digits only, no sign and no list; a number that does not fit in `Int` is a length, and too large.
    private mutating func addLength(_ value: Span<UInt8>) throws(Rejection) {
        guard contentLength == nil, !value.isEmpty, value.allSatisfy(\.isDigit) else {
            throw .contentLength
        }
        contentLength = Int(String(decoding: value)) ?? .max
    }

    /// The last coding of the last line frames the content.
    private mutating func addCodings(_ value: Span<UInt8>) {
        var rest = 0..<value.count
        var last = 0..<0
        var count = codings == nil ? 0 : 1
        while let item = value.nextListItem(in: &rest) {
            last = item
            count += 1
        }
        let isChunked = value.extracting(last).equalsIgnoringCase("chunked")
        codings =
            !isChunked
            ? .failure(.notChunked) : count == 1 ? .success(.chunked) : .failure(.unknownCoding)
    }

    func framing(minorVersion: Int, limit: Int) throws(Rejection) -> ContentFraming {
        guard hosts == 1 || (hosts == 0 && minorVersion == 0) else { throw .host }
        if let codings {
            guard minorVersion > 0 else { throw .codingInHTTP10 }
            guard contentLength == nil else { throw .bothLengths }
            return try codings.get()
        }
        guard let contentLength else { return .length(0) }
        guard contentLength <= limit else { throw .longContent }
        return .length(contentLength)
    }

    /// RFC 9112 §9.3.
    func keepsAlive(minorVersion: Int) -> Bool {
        !closes && (minorVersion > 0 || staysAlive)
    }

    /// Whether the client waits for `100 Continue`; an HTTP/1.0 client cannot (RFC 9110 §10.1.1).
    func expectsContinue(minorVersion: Int) throws(Rejection) -> Bool {
        guard minorVersion > 0, let expectation else { return false }
        guard expectation else { throw .expectation }
        return true
    }
}

// MARK: - Grammar

/// The character classes of RFC 9110, RFC 9112 and RFC 3986.
extension UInt8 {
    static let lineFeed: UInt8 = 0x0A
    static let carriageReturn: UInt8 = 0x0D
    static let tab: UInt8 = 0x09
    static let space: UInt8 = 0x20
    static let colon: UInt8 = 0x3A

    /// Visible ASCII (`VCHAR`).
    var isVisible: Bool { self > 0x20 && self < 0x7F }

    /// A byte that no line of a head may contain; the scanner checks line ends.
    var isControl: Bool { self < 0x20 && self != .tab || self == 0x7F }

    var isDigit: Bool { self >= 0x30 && self <= 0x39 }

    var isLetter: Bool { lowercased >= 0x61 && lowercased <= 0x7A }

    /// `tchar` of RFC 9110 §5.6.2.
    var isToken: Bool {
        self < 0x80
            && (self < 0x40 ? Self.lowTokens : Self.highTokens) >> UInt64(self & 0x3F) & 1 == 1
    }

    /// `unreserved` and `sub-delims` of RFC 3986 §2.
    fileprivate var isName: Bool {
        switch self {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F, 0x7E, 0x21, 0x24,
            0x26...0x2C, 0x3B, 0x3D:
            true
        default: false
        }
    }

    /// ASCII letters in lower case, other bytes unchanged.
    var lowercased: UInt8 { self >= 0x41 && self <= 0x5A ? self | 0x20 : self }

    /// The value of a hexadecimal digit.
    var hexadecimal: UInt8? {
        switch lowercased {
        case 0x30...0x39: self - 0x30
        case 0x61...0x66: lowercased - 0x61 + 10
        default: nil
        }
    }

    /// One bit for each byte below 0x40: digits and `!#$%&'*+-.`.
    private static let lowTokens: UInt64 = 0x03FF_6CFA_0000_0000
    /// One bit for each byte from 0x40: letters and `^_`, backtick, `|~`.
    private static let highTokens: UInt64 = 0x57FF_FFFF_C7FF_FFFE
}

extension Span where Element == UInt8 {
    var first: UInt8? { isEmpty ? nil : self[0] }

    func equals(_ text: String) -> Bool { isSame(as: text.utf8.span) }

    /// Whether the bytes are `text`, in any case of ASCII letters.
    func equalsIgnoringCase(_ text: String) -> Bool {
        let text = text.utf8.span
        guard count == text.count else { return false }
        for index in indices where self[index].lowercased != text[index].lowercased { return false }
        return true
    }

    fileprivate func contains(_ text: String) -> Bool {
        let length = text.utf8.count
        guard count >= length else { return false }
        return (0...(count - length)).contains {
            extracting($0..<($0 + length)).equals(text)
        }
    }

    /// Uses `memchr(3)`, which examines many bytes at a time.
    func firstIndex(of byte: UInt8, from start: Int = 0) -> Int? {
        guard start < count else { return nil }
        return unsafe withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress,
                let found = unsafe memchr(base + start, CInt(byte), count - start)
            else { return nil }
            return unsafe UnsafeRawPointer(found) - base
        }
    }

    func allSatisfy(_ rule: (UInt8) -> Bool) -> Bool {
        for index in indices where !rule(self[index]) { return false }
        return true
    }

    /// The range without spaces and tabs at either end.
    fileprivate func trimmed(_ range: Range<Int>) -> Range<Int> {
        var (start, end) = (range.lowerBound, range.upperBound)
        while start < end, self[start] == .space || self[start] == .tab { start += 1 }
        while end > start, self[end - 1] == .space || self[end - 1] == .tab { end -= 1 }
        return start..<end
    }

    /// Removes the first item that is not empty from a comma-separated list.
    func nextListItem(in rest: inout Range<Int>) -> Range<Int>? {
        while !rest.isEmpty {
            var comma = rest.lowerBound
            while comma < rest.upperBound, self[comma] != 0x2C { comma += 1 }
            let item = trimmed(rest.lowerBound..<comma)
            rest = min(comma + 1, rest.upperBound)..<rest.upperBound
            if !item.isEmpty { return item }
        }
        return nil
    }
}

extension String {
    /// Decodes UTF-8; each invalid byte becomes U+FFFD.
    init(decoding bytes: Span<UInt8>) {
        self = unsafe bytes.withUnsafeBufferPointer { unsafe String(decoding: $0, as: UTF8.self) }
    }
}

extension [UInt8] {
    init(copying bytes: Span<UInt8>) {
        self = unsafe bytes.withUnsafeBufferPointer { unsafe Array($0) }
    }
}
