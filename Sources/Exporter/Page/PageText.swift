import Posix

/// Durations, sizes and times as people read them: few digits, and always with the unit, from which no line break parts them.
enum PageText {
    /// Such as `380 ms`, `18.4 s`, `4 m 12 s`, `4 h 22 m`, `6 d 3 h`.
    static func duration(_ duration: Duration) -> String {
        let milliseconds = duration.wholeNanoseconds / 1_000_000
        let seconds = milliseconds / 1000
        switch seconds {
        case 0 where milliseconds == 0: return duration == .zero ? "0\u{A0}s" : "<\u{A0}1\u{A0}ms"
        case 0: return "\(milliseconds)\u{A0}ms"
        case ..<100: return "\(seconds).\(milliseconds % 1000 / 100)\u{A0}s"
        case ..<3600: return "\(seconds / 60)\u{A0}m \(seconds % 60)\u{A0}s"
        case ..<172_800: return "\(seconds / 3600)\u{A0}h \(seconds / 60 % 60)\u{A0}m"
        default: return "\(seconds / 86_400)\u{A0}d \(seconds / 3600 % 24)\u{A0}h"
        }
    }

    /// A duration that somebody chose: `60 s`, not `60.0 s`.
    static func setting(_ duration: Duration) -> String {
        let seconds = duration.wholeNanoseconds / 1_000_000_000
        let isWhole = duration == .seconds(Int64(seconds)) && seconds < 100
        return isWhole ? "\(seconds)\u{A0}s" : Self.duration(duration)
    }

    /// Like `duration`, for what is long ago enough that tenths of a second do not matter.
    static func age(_ duration: Duration) -> String {
        let seconds = duration.wholeNanoseconds / 1_000_000_000
        return seconds < 100 ? "\(seconds)\u{A0}s" : Self.duration(.seconds(Int64(seconds)))
    }

    /// Powers of ten, three digits: `6.72 GB`.
    static func bytes(_ count: UInt64) -> String {
        guard count >= 1000 else { return "\(count)\u{A0}B" }
        var (scaled, unit) = (count, 0)
        while scaled >= 1_000_000 { (scaled, unit) = (scaled / 1000, unit + 1) }
        let (whole, thousandths) = (scaled / 1000, scaled % 1000)
        let fraction =
            switch whole {
            case ..<10: ".\(thousandths / 100)\(thousandths / 10 % 10)"
            case ..<100: ".\(thousandths / 100)"
            default: ""
            }
        return "\(whole)\(fraction)\u{A0}\(["kB", "MB", "GB", "TB", "PB", "EB"][unit])"
    }

    /// `3 recordings`, `1 recording`.
    static func count(_ count: Int, _ noun: String) -> String {
        "\(count) \(noun)\(count == 1 ? "" : "s")"
    }

    /// Whole percent, beyond a thousand as that.
    static func percent(_ ratio: Double) -> String {
        "\(Int((ratio > 0 ? min(ratio, 10) : 0) * 100 + 0.5)) %"
    }

    /// A moment, to the second, in UTC; without the date when that is the one of `today`.
    static func time(_ wall: WallTime, today: WallTime? = nil) -> HTML {
        let iso = UTCTime(wall).iso8601
        let (date, clock) = (iso.prefix(10), iso.dropFirst(11).dropLast())
        let isToday = today.map { UTCTime($0).iso8601.hasPrefix(date) } ?? false
        return .element("time", ["datetime": iso], isToday ? "\(clock)" : "\(date) \(clock)")
    }
}
