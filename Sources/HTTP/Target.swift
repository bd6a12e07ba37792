import Posix

/// A request target in one of the four forms of RFC 9112 §3.2, as ranges of the head's bytes.
struct Target: Sendable {
    let whole: Range<Int>
    /// Empty in the authority form, and in an absolute one without a path, which means `/`.
    let path: Range<Int>
    /// What follows the first `?`.
    let query: Range<Int>
    /// Host and port of the absolute and the authority form; empty in the others.
    let authority: Range<Int>

    init(_ whole: Range<Int>, of method: Method, in bytes: Span<UInt8>) throws(Rejection) {
        let text = bytes.extracting(whole)
        // No fragment (RFC 9112 §3.2), and no raw byte that a URI cannot hold.
        guard !text.isEmpty, text.allSatisfy({ $0.isVisible && $0 != 0x23 }) else { throw .target }
        self.whole = whole
        let (authority, pathStart) = try Self.parts(text, of: method)
        self.authority =
            whole.lowerBound + authority.lowerBound..<whole.lowerBound + authority.upperBound
        let start = whole.lowerBound + pathStart
        let mark = bytes.firstIndex(of: 0x3F, from: start) ?? whole.upperBound
        path = start..<min(mark, whole.upperBound)
        query = min(mark + 1, whole.upperBound)..<whole.upperBound
    }

    /// The authority, if the target has one, and where the path begins after it.
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

/// A host, and a port that may be empty or missing (RFC 3986 §3.2.2 and §3.2.3), as ranges of the bytes.
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

    /// `reg-name`, of which IPv4 addresses are a part.
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

extension UInt8 {
    /// `unreserved` and `sub-delims` of RFC 3986 §2.
    fileprivate var isName: Bool {
        switch self {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F, 0x7E, 0x21, 0x24,
            0x26...0x2C, 0x3B, 0x3D:
            true
        default: false
        }
    }
}
