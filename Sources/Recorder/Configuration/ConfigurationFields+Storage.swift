import JSON
import Posix

extension ConfigurationFields {
    /// Takes a size, such as `500MiB`.
    mutating func byteCount(_ name: String) -> UInt64? {
        guard let text = text(name) else { return nil }
        if let bytes = ByteCountText.parse(text) { return bytes }
        report(name, ByteCountText.rule)
        return nil
    }

    /// Takes a size of memory for segments.
    mutating func segmentMemory(_ name: String) -> Int? {
        guard let bytes = byteCount(name) else { return nil }
        guard bytes >= 16 << 20 else {
            report(name, "must be at least 16MiB")
            return nil
        }
        return Int(clamping: bytes)
    }

    /// Takes a whole number of at least 1.
    mutating func count(_ name: String) -> Int? {
        guard let value = take(name) else { return nil }
        guard case .number(let number) = value, let count = number.integer,
            (1...1_000_000_000).contains(count)
        else {
            report(name, "must be a whole number from 1 to 1000000000")
            return nil
        }
        return Int(count)
    }

    mutating func boolean(_ name: String) -> Bool? {
        guard let value = take(name) else { return nil }
        guard case .boolean(let isTrue) = value else {
            report(name, "must be true or false, not \(value.kind)")
            return nil
        }
        return isTrue
    }
}

extension DiskSettings {
    init(reading fields: inout ConfigurationFields) {
        warnBelow = fields.byteCount("warn_below")
        refuseBelow = fields.byteCount("refuse_below")
        reserve = fields.byteCount("reserve")
        if let warnBelow, let refuseBelow, warnBelow < refuseBelow {
            fields.report("warn_below", "must not be less than refuse_below")
        }
    }
}

extension RetentionRules {
    static let ageBounds = Duration.seconds(1)...Duration.seconds(87_600 * 3600)

    init(reading fields: inout ConfigurationFields) {
        maxAge = fields.duration("max_age", in: Self.ageBounds)
        maxCount = fields.count("max_count")
        maxBytes = fields.byteCount("max_size")
    }
}

/// What is done with recordings after their end.
struct RemuxSettings: Equatable, Sendable {
    /// Whether a transport stream goes once its MP4 is whole.
    var deletesSource = false

    /// `to` must be `mp4`, for want of another; it says what the object is about.
    init?(reading fields: inout ConfigurationFields) {
        deletesSource = fields.boolean("delete_source") ?? false
        guard let container = fields.text("to", isRequired: true) else { return nil }
        guard container == "mp4" else {
            fields.report("to", "must be \"mp4\"")
            return nil
        }
    }
}
