import Fetch

/// Cuts what a program writes to its standard error into lines fit for a log.
///
/// A carriage return ends a line too: progress displays overwrite themselves with it. Lines are cut at `longest` bytes,
/// and lose control characters, and the users and queries of addresses, where passwords and tokens are.
struct ErrorLines {
    private var line: [UInt8] = []
    private let longest: Int

    /// The latest line that was not empty.
    private(set) var last = ""

    init(longest: Int = 512) {
        self.longest = longest
    }

    /// Takes the next bytes; the lines that they complete.
    mutating func append(_ bytes: Span<UInt8>) -> [String] {
        var complete: [String] = []
        for index in bytes.indices {
            let byte = bytes[index]
            if byte == UInt8(ascii: "\n") || byte == UInt8(ascii: "\r") {
                complete += finish()
            } else if line.count < longest {
                line.append(byte < 0x20 || byte == 0x7f ? UInt8(ascii: " ") : byte)
            }
        }
        return complete
    }

    /// Takes the end of the output as the end of a line.
    mutating func finish() -> [String] {
        guard !line.isEmpty else { return [] }
        last = withoutSecrets(String(decoding: line, as: UTF8.self))
        line.removeAll(keepingCapacity: true)
        return [last]
    }
}

/// How many lines a second reach the log; a program gone wild must not fill the disk with its complaints.
struct LineBudget {
    private let perSecond: Int
    private var second: UInt64 = 0
    private var used = 0
    private var dropped = 0

    init(perSecond: Int = 50) {
        self.perSecond = perSecond
    }

    /// Whether a line at `seconds` may pass, and how many were dropped before it.
    mutating func take(at seconds: UInt64) -> (passes: Bool, droppedBefore: Int) {
        if seconds != second { (second, used) = (seconds, 0) }
        guard used < perSecond else {
            dropped += 1
            return (false, 0)
        }
        used += 1
        defer { dropped = 0 }
        return (true, dropped)
    }
}
