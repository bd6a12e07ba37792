import Glibc
import Posix

/// What the grammar of RFC 9110 and RFC 9112 asks of bytes.
extension UInt8 {
    static let lineFeed: UInt8 = 0x0A
    static let carriageReturn: UInt8 = 0x0D
    static let tab: UInt8 = 0x09
    static let space: UInt8 = 0x20
    static let colon: UInt8 = 0x3A

    /// Visible ASCII (`VCHAR`).
    var isVisible: Bool { self > 0x20 && self < 0x7F }

    /// A byte that no line of a head may hold; line ends are judged by the scanner.
    var isControl: Bool { self < 0x20 && self != .tab || self == 0x7F }

    var isDigit: Bool { self >= 0x30 && self <= 0x39 }

    var isLetter: Bool { lowercased >= 0x61 && lowercased <= 0x7A }

    /// `tchar` of RFC 9110 §5.6.2.
    var isToken: Bool {
        self < 0x80
            && (self < 0x40 ? Self.lowTokens : Self.highTokens) >> UInt64(self & 0x3F) & 1 == 1
    }

    /// ASCII letters in lower case, everything else as it is.
    var lowercased: UInt8 { self >= 0x41 && self <= 0x5A ? self | 0x20 : self }

    /// The value of a hexadecimal digit.
    var hexadecimal: UInt8? {
        switch lowercased {
        case 0x30...0x39: self - 0x30
        case 0x61...0x66: lowercased - 0x61 + 10
        default: nil
        }
    }

    /// One bit a byte below 0x40: digits and `!#$%&'*+-.`.
    private static let lowTokens: UInt64 = 0x03FF_6CFA_0000_0000
    /// One bit a byte from 0x40: letters and `^_`, backtick, `|~`.
    private static let highTokens: UInt64 = 0x57FF_FFFF_C7FF_FFFE
}

extension Span where Element == UInt8 {
    /// Whether the bytes are exactly `text`.
    func equals(_ text: String) -> Bool { isSame(as: text.utf8.span) }

    /// Whether the bytes are `text` but for the case of ASCII letters.
    func equalsIgnoringCase(_ text: String) -> Bool {
        let text = text.utf8.span
        guard count == text.count else { return false }
        for index in indices where self[index].lowercased != text[index].lowercased { return false }
        return true
    }

    var first: UInt8? { isEmpty ? nil : self[0] }

    func contains(_ text: String) -> Bool {
        let length = text.utf8.count
        guard count >= length else { return false }
        return (0...(count - length)).contains {
            extracting($0..<($0 + length)).equals(text)
        }
    }

    /// By `memchr(3)`, which looks at many bytes at a time.
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

    /// The bytes without spaces and tabs at either end, as a range.
    func trimmed(_ range: Range<Int>) -> Range<Int> {
        var (start, end) = (range.lowerBound, range.upperBound)
        while start < end, self[start] == .space || self[start] == .tab { start += 1 }
        while end > start, self[end - 1] == .space || self[end - 1] == .tab { end -= 1 }
        return start..<end
    }

    /// Takes the next item that is not empty off the front of a comma-separated list.
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
    /// Takes bytes as UTF-8; a byte that is not becomes U+FFFD.
    init(decoding bytes: Span<UInt8>) {
        self = unsafe bytes.withUnsafeBufferPointer { unsafe String(decoding: $0, as: UTF8.self) }
    }
}

extension [UInt8] {
    init(copying bytes: Span<UInt8>) {
        self = unsafe bytes.withUnsafeBufferPointer { unsafe Array($0) }
    }
}
