extension WallTime {
    /// Reads a time of RFC 3339 in UTC, with up to nine decimals: `2019-11-16T10:11:12.123456789Z`.
    ///
    /// `nil` for anything else, and for a time before 1970 or after 2553.
    package init?(rfc3339 text: String) {
        guard text.utf8.last == UInt8(ascii: "Z") else { return nil }
        let parts = text.dropLast().split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count <= 2, let time = UTCTime(iso8601: parts[0] + "Z"),
            let whole = UInt64(exactly: time.seconds), whole < UInt64.max / 1_000_000_000
        else { return nil }
        var nanoseconds: UInt64 = 0
        if parts.count == 2 {
            let digits = parts[1].utf8
            guard (1...9).contains(digits.count), digits.allSatisfy({ (0x30...0x39).contains($0) })
            else { return nil }
            for digit in digits { nanoseconds = nanoseconds * 10 + UInt64(digit - 0x30) }
            for _ in digits.count..<9 { nanoseconds *= 10 }
        }
        self.init(nanoseconds: whole * 1_000_000_000 + nanoseconds)
    }
}
