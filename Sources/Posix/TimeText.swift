import Glibc

/// A calendar time in UTC, to the second, in the years 1000 to 9999, which are written with four digits.
package struct UTCTime: Comparable, Sendable {
    /// Since 1970; the difference of two times does not overflow.
    package let seconds: Int

    private static let bounds = -30_610_224_000...253_402_300_799

    /// The time, or the nearest one in these years.
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

    /// From year, month, day, hour, minute and second; a day beyond the end of its month becomes one of the next month.
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

private func padded(_ number: CInt) -> String {
    number < 10 ? "0\(number)" : "\(number)"
}

/// Durations as people write them: `60s`, `1.5s`, `500ms`, `2m`, `1h30m`; read digit by digit, so that `0.1s` is exactly 100 ms.
extension Duration {
    /// Reads one or more numbers with units, the larger unit first; `nil` for anything else.
    ///
    /// Units are `h`, `m`, `s` and `ms`. A number without a unit is ambiguous, and refused.
    package init?(text: String) {
        var rest = Array(text.utf8)[...]
        var total: Int64 = 0
        var smallestScale = Int64.max
        repeat {
            guard let (nanoseconds, scale) = readPart(of: &rest), scale < smallestScale else {
                return nil
            }
            let (sum, overflow) = total.addingReportingOverflow(nanoseconds)
            guard !overflow else { return nil }
            (total, smallestScale) = (sum, scale)
        } while !rest.isEmpty
        self = .nanoseconds(total)
    }

    /// The duration in whole hours, `24h`, in whole seconds, `60s`, or in whole milliseconds, `1500ms`.
    package var text: String {
        let milliseconds = wholeNanoseconds / 1_000_000
        if milliseconds > 0, milliseconds % 3_600_000 == 0 { return "\(milliseconds / 3_600_000)h" }
        return milliseconds % 1000 == 0 ? "\(milliseconds / 1000)s" : "\(milliseconds)ms"
    }
}

/// Removes a part such as `1.5s` from the front of `rest`: its nanoseconds, and those of its unit.
private func readPart(of rest: inout ArraySlice<UInt8>) -> (nanoseconds: Int64, scale: Int64)? {
    let whole = readDigits(of: &rest)
    var fraction: ArraySlice<UInt8> = []
    if rest.first == UInt8(ascii: ".") {
        rest.removeFirst()
        fraction = readDigits(of: &rest)
        guard !fraction.isEmpty else { return nil }
    }
    guard !whole.isEmpty, let scale = readUnit(of: &rest) else { return nil }
    var total: Int64 = 0
    for digit in whole {
        let (tens, tooLarge) = total.multipliedReportingOverflow(by: 10)
        let (sum, overflow) = tens.addingReportingOverflow(Int64(digit - UInt8(ascii: "0")))
        guard !tooLarge, !overflow else { return nil }
        total = sum
    }
    let (scaled, overflow) = total.multipliedReportingOverflow(by: scale)
    guard !overflow else { return nil }
    var place = scale
    var remainder: Int64 = 0
    for digit in fraction {
        place /= 10  // Drops what is below a nanosecond.
        remainder += Int64(digit - UInt8(ascii: "0")) * place
    }
    let (sum, tooLarge) = scaled.addingReportingOverflow(remainder)
    return tooLarge ? nil : (sum, scale)
}

private func readDigits(of rest: inout ArraySlice<UInt8>) -> ArraySlice<UInt8> {
    let digits = rest.prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
    rest = rest.dropFirst(digits.count)
    return digits
}

private func readUnit(of rest: inout ArraySlice<UInt8>) -> Int64? {
    let units: [(String, Int64)] = [
        ("ms", 1_000_000), ("s", 1_000_000_000), ("m", 60_000_000_000), ("h", 3_600_000_000_000),
    ]
    for (name, scale) in units where rest.starts(with: name.utf8) {
        rest = rest.dropFirst(name.utf8.count)
        return scale
    }
    return nil
}

/// Why `text` is not a duration within `bounds`, or `nil` when it is.
package func durationError(for text: String, bounds: ClosedRange<Duration>) -> String? {
    guard let duration = Duration(text: text) else {
        return "\"\(text)\" is not a duration, such as 500ms, 1.5s, 60s, 2m or 1h30m"
    }
    guard !bounds.contains(duration) else { return nil }
    return "must be between \(bounds.lowerBound.text) and \(bounds.upperBound.text), not \(text)"
}
