/// Cuts what arrives in pieces into lines, each of a bounded length.
struct LineBuffer {
    /// Bytes of a line without its line feed.
    static let longestLine = 64 << 10

    enum Line: Equatable {
        /// Where in `bytes` it stands, without its line feed.
        case whole(Range<Int>)
        /// One beyond the longest; the rest of it is thrown away.
        case tooLong
    }

    private(set) var bytes: [UInt8] = []
    /// Where the line begins that comes next, and up to where there is no line feed in it.
    private var (start, scanned) = (0, 0)
    private var isSkipping = false

    mutating func append(_ received: ArraySlice<UInt8>) {
        bytes.append(contentsOf: received)
    }

    /// Takes the next line; `nil` when it has not arrived in whole.
    mutating func next() -> Line? {
        while true {
            guard let end = bytes[scanned...].firstIndex(of: UInt8(ascii: "\n")) else {
                scanned = bytes.count
                return cutShort()
            }
            let line = start..<end
            (start, scanned) = (end + 1, end + 1)
            if isSkipping {
                isSkipping = false
                continue
            }
            return line.count > Self.longestLine ? .tooLong : .whole(line)
        }
    }

    /// Takes what stands behind the last line feed, when nothing more will arrive; `nil` when nothing does.
    mutating func last() -> Line? {
        guard start < bytes.count, !isSkipping else { return nil }
        defer { start = bytes.count }
        return .whole(start..<bytes.count)
    }

    /// Moves what is left to the front; called once for all lines that one arrival held.
    mutating func compact() {
        guard start > 0 else { return }
        let keeps = bytes.capacity <= Self.keptCapacity
        bytes.removeSubrange(..<start)
        if bytes.isEmpty, !keeps { bytes = [] }
        (start, scanned) = (0, scanned - start)
    }

    /// Gives up on a line that is too long before all of it has arrived.
    private mutating func cutShort() -> Line? {
        guard isSkipping || bytes.count - start > Self.longestLine else { return nil }
        start = bytes.count
        defer { isSkipping = true }
        return isSkipping ? nil : .tooLong
    }

    /// What an idle connection may hold on to.
    private static let keptCapacity = 4096
}
