/// Finds the end of a head, looking at each byte once however the bytes arrive.
///
/// What it finds depends only on the bytes, never on where they were split.
struct HeadScanner {
    private var offset = 0
    /// Where the line begins that is being read.
    private var lineStart = 0
    /// Where the request line begins; RFC 9112 §2.2 has a server skip an empty line before it.
    private(set) var start = 0
    /// Where the request line ends, before its CR.
    private(set) var requestLineEnd: Int?

    /// The length of the head with its empty line; `nil` while that has not arrived.
    mutating func end(in bytes: Span<UInt8>, limit: Int) throws(Rejection) -> Int? {
        let available = min(bytes.count, limit)
        while offset < available {
            let byte = bytes[offset]
            let followsReturn = offset > lineStart && bytes[offset - 1] == .carriageReturn
            offset += 1
            if byte == .lineFeed {
                guard followsReturn else { throw .bareLineFeed }
                if endLine() { return offset }
            } else if followsReturn {
                throw .bareCarriageReturn
            } else if byte.isControl, byte != .carriageReturn {
                throw .control
            }
        }
        guard available < limit else { throw requestLineEnd == nil ? .longTarget : .longHeader }
        return nil
    }

    /// Takes note of the line that ends before `offset`; `true` when it is the empty one after the head.
    private mutating func endLine() -> Bool {
        let isEmpty = offset - lineStart == 2
        if requestLineEnd != nil {
            if isEmpty { return true }
        } else if isEmpty, start == 0 {
            start = offset
        } else {
            requestLineEnd = offset - 2
        }
        lineStart = offset
        return false
    }
}
