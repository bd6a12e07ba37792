import Glibc

/// A moment of the calendar in UTC, to the second, in the years 1000 to 9999: those whose text has four digits for them.
package struct UTCTime: Comparable, Sendable {
    /// Since 1970; differences of two moments do not overflow.
    package let seconds: Int

    private static let bounds = -30_610_224_000...253_402_300_799

    /// The moment, or the nearest one that has a text.
    package init(seconds: Int) {
        self.seconds = min(max(seconds, Self.bounds.lowerBound), Self.bounds.upperBound)
    }

    package init(_ time: WallTime) {
        self.init(seconds: Int(time.nanoseconds / 1_000_000_000))
    }

    /// Reads `2026-11-23T10:45:00Z`; `nil` for any other form, and for a day that no calendar has.
    package init?(iso8601 text: String) {
        self.init(text.split { "-T:Z".contains($0) }.compactMap { CInt($0) })
        guard iso8601 == text else { return nil }
    }

    /// Reads `20261123T104500Z`, as `compact` writes it; `nil` for anything else.
    package init?(compact text: Substring) {
        let digits = text.utf8.map { CInt($0) - 0x30 }
        guard digits.count == 16 else { return nil }
        let pairs = [2, 4, 6, 9, 11, 13].map { digits[$0] * 10 + digits[$0 + 1] }
        self.init([(digits[0] * 10 + digits[1]) * 100 + pairs[0]] + pairs.dropFirst())
        guard compact == text else { return nil }
    }

    /// Takes year, month, day, hour, minute and second; a day that its month does not have becomes one of the next.
    private init?(_ numbers: [CInt]) {
        let bounds: [ClosedRange<CInt>] = [1000...9999, 1...12, 1...31, 0...23, 0...59, 0...59]
        guard numbers.count == bounds.count,
            numbers.indices.allSatisfy({ bounds[$0].contains(numbers[$0]) })
        else { return nil }
        var fields = unsafe tm()
        unsafe (fields.tm_year, fields.tm_mon) = (numbers[0] - 1900, numbers[1] - 1)
        unsafe (fields.tm_mday, fields.tm_hour) = (numbers[2], numbers[3])
        unsafe (fields.tm_min, fields.tm_sec) = (numbers[4], numbers[5])
        self.init(seconds: unsafe timegm(&fields))
    }

    package static func < (left: UTCTime, right: UTCTime) -> Bool { left.seconds < right.seconds }

    package func advanced(by seconds: Int) -> UTCTime {
        UTCTime(seconds: self.seconds.addingWithSaturation(seconds))
    }

    /// As in a catalogue or an API: `2026-11-23T10:45:00Z`.
    package var iso8601: String { iso8601WithoutZone + "Z" }

    /// As in a file's name: `20261123T104500Z`.
    package var compact: String {
        let (date, time) = digits
        return date.joined() + "T" + time.joined() + "Z"
    }

    fileprivate var iso8601WithoutZone: String {
        let (date, time) = digits
        return date.joined(separator: "-") + "T" + time.joined(separator: ":")
    }

    private var digits: (date: [String], time: [String]) {
        var moment = time_t(seconds)
        var fields = unsafe tm()  // Unsafe for its pointer to the zone's name, which is not read.
        _ = unsafe gmtime_r(&moment, &fields)
        // Neither sum overflows: the year is bounded.
        let date = unsafe [fields.tm_year + 1900, fields.tm_mon + 1, fields.tm_mday]
        let time = unsafe [fields.tm_hour, fields.tm_min, fields.tm_sec]
        return (date.map(padded), time.map(padded))
    }
}

extension WallTime {
    /// UTC, to the millisecond: `2026-11-23T10:45:00.123Z`.
    package var iso8601: String {
        let digits = String(nanoseconds / 1_000_000 % 1000 + 1000).dropFirst()
        return UTCTime(self).iso8601WithoutZone + ".\(digits)Z"
    }
}

private func padded(_ number: CInt) -> String {
    number < 10 ? "0\(number)" : "\(number)"
}
