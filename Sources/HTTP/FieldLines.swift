/// Walks over the field lines of a head whose line ends the scanner has judged.
struct FieldLines {
    private var offset: Int
    private let end: Int

    /// Name and value of a line, as ranges of the head's bytes; the value without white space around it.
    struct Field {
        let name: Range<Int>
        let value: Range<Int>
    }

    /// `range` begins after the request line and ends before the empty line.
    init(_ range: Range<Int>) {
        (offset, end) = (range.lowerBound, range.upperBound)
    }

    /// The next line, checked by RFC 9112 §5; `nil` after the last.
    mutating func next(in bytes: Span<UInt8>) throws(Rejection) -> Field? {
        guard offset < end, let lineFeed = bytes.firstIndex(of: .lineFeed, from: offset) else {
            return nil
        }
        let (start, lineEnd) = (offset, lineFeed - 1)
        offset = lineFeed + 1
        guard bytes[start] != .space, bytes[start] != .tab else { throw .folding }
        var colon = start
        while colon < lineEnd, bytes[colon].isToken { colon += 1 }
        guard colon > start, colon < lineEnd, bytes[colon] == .colon else { throw .fieldName }
        return Field(name: start..<colon, value: bytes.trimmed(colon + 1..<lineEnd))
    }
}
