/// Method, target and version (RFC 9112 §3), as ranges of the head's bytes.
struct RequestLine: Sendable {
    let method: Method
    let target: Target
    /// 0 or 1: the digit after `HTTP/1.`.
    let minorVersion: Int

    init(_ line: Range<Int>, in bytes: Span<UInt8>) throws(Rejection) {
        guard let first = bytes.firstIndex(of: .space, from: line.lowerBound),
            first < line.upperBound,
            let second = bytes.firstIndex(of: .space, from: first + 1), second < line.upperBound
        else { throw .requestLine }
        let name = bytes.extracting(line.lowerBound..<first)
        guard !name.isEmpty, name.allSatisfy(\.isToken) else { throw .requestLine }
        method = Method(name)
        minorVersion = try Self.version(bytes.extracting(second + 1..<line.upperBound))
        target = try Target(first + 1..<second, of: method, in: bytes)
    }

    /// `HTTP/` and two digits around a dot; the name is case-sensitive (RFC 9112 §2.3).
    private static func version(_ text: Span<UInt8>) throws(Rejection) -> Int {
        guard text.count == 8, text.extracting(first: 5).equals("HTTP/"), text[5].isDigit,
            text[6] == 0x2E, text[7].isDigit
        else { throw .requestLine }
        guard text[5] == 0x31, text[7] <= 0x31 else { throw .version }
        return Int(text[7] - 0x30)
    }
}
