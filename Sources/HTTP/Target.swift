/// A request target in one of the four forms of RFC 9112 §3.2, as ranges of the head's bytes.
struct Target: Sendable {
    let whole: Range<Int>
    /// Empty in the authority form, and in an absolute one without a path, which means `/`.
    let path: Range<Int>
    /// What follows the first `?`.
    let query: Range<Int>

    init(_ whole: Range<Int>, of method: Method, in bytes: Span<UInt8>) throws(Rejection) {
        let text = bytes.extracting(whole)
        // No fragment (RFC 9112 §3.2), and no raw byte that a URI cannot hold.
        guard !text.isEmpty, text.allSatisfy({ $0.isVisible && $0 != 0x23 }) else { throw .target }
        self.whole = whole
        let start = whole.lowerBound + (try Self.pathStart(text, of: method))
        let mark = bytes.firstIndex(of: 0x3F, from: start) ?? whole.upperBound
        path = start..<min(mark, whole.upperBound)
        query = min(mark + 1, whole.upperBound)..<whole.upperBound
    }

    /// Where the path begins, after the scheme and the authority if the target has them.
    private static func pathStart(
        _ text: Span<UInt8>,
        of method: Method
    ) throws(Rejection) -> Int {
        if method == .connect {
            guard text[0] != 0x2F, isAuthority(text), text.firstIndex(of: .colon) != nil else {
                throw .target
            }
            return text.count
        }
        if text[0] == 0x2F { return 0 }
        if text.count == 1, text[0] == 0x2A, method == .options { return 0 }
        return try absolutePathStart(text)
    }

    private static func absolutePathStart(_ text: Span<UInt8>) throws(Rejection) -> Int {
        let schemes = ["http://", "https://"]
        let scheme = schemes.first { text.extracting(first: $0.utf8.count).equalsIgnoringCase($0) }
        guard let start = scheme?.utf8.count else { throw .target }
        var end = start
        while end < text.count, text[end] != 0x2F, text[end] != 0x3F { end += 1 }
        guard end > start, isAuthority(text.extracting(start..<end)) else { throw .target }
        return end
    }

    /// A host with or without a port; the empty one is valid in a Host field (RFC 9112 §3.2).
    static func isAuthority(_ text: Span<UInt8>) -> Bool {
        text.allSatisfy { byte in
            switch byte {
            // unreserved, pct-encoded, sub-delims, and the brackets and colons of IP literals and ports.
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F, 0x7E, 0x25, 0x21, 0x24,
                0x26...0x2C, 0x3B, 0x3D, 0x5B, 0x5D, 0x3A:
                true
            default: false
            }
        }
    }
}
