import Glibc
import Posix

/// A moment of the calendar in UTC, to the second.
struct UTCTime: Equatable, Sendable {
    let seconds: Int

    init(_ time: WallTime) {
        seconds = Int(time.nanoseconds / 1_000_000_000)
    }

    /// As in a catalogue or an API: `2026-11-23T10:45:00Z`.
    var iso8601: String {
        let (date, time) = digits
        return date.joined(separator: "-") + "T" + time.joined(separator: ":") + "Z"
    }

    /// As in a file's name: `20261123T104500Z`.
    var compact: String {
        let (date, time) = digits
        return date.joined() + "T" + time.joined() + "Z"
    }

    private var digits: (date: [String], time: [String]) {
        var moment = time_t(seconds)
        var fields = unsafe tm()  // Unsafe for its pointer to the zone's name, which is not read.
        _ = unsafe gmtime_r(&moment, &fields)
        let date = unsafe [fields.tm_year + 1900, fields.tm_mon + 1, fields.tm_mday]
        let time = unsafe [fields.tm_hour, fields.tm_min, fields.tm_sec]
        return (date.map(padded), time.map(padded))
    }
}

private func padded(_ number: CInt) -> String {
    number < 10 ? "0\(number)" : "\(number)"
}
