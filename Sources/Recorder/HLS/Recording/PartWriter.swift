import Media
import Posix

/// Puts segments into parts: each part is of one encoding, and plays by itself.
struct PartWriter {
    private let sink: any MediaSink
    /// What the part under way began with; `nil` before the first.
    private var current: (container: MediaContainer, header: [UInt8]?)?
    /// The number of the latest segment that was written.
    private var latest: UInt64?
    /// Whether a break has come since the latest segment that was written.
    private var isBroken = false
    private var allowance = PartAllowance()

    init(into sink: any MediaSink) {
        self.sink = sink
    }

    /// Takes note of a break that came with a segment which is not written.
    mutating func skip(_ segment: MediaSegment) {
        isBroken = isBroken || segment.isDiscontinuous
    }

    /// When a segment may be written that no file can hold which is there; `nil` for now.
    func dueTime(of unit: MediaUnit, at now: BootTime) -> BootTime? {
        guard let current, current.container != unit.container, !sink.isSplitDue else { return nil }
        return allowance.dueTime(at: now)
    }

    /// Writes a segment: after a break, or with another header, into a part of its own; where a split is due, into the next
    /// recording.
    ///
    /// Where parts come too fast, it goes into the part that is there: behind its own header, or behind packets that announce
    /// other time stamps.
    mutating func write(
        _ unit: MediaUnit,
        of segment: MediaSegment,
        at now: BootTime = .now()
    ) throws(SystemError) {
        let isSame = current.map { $0.container == unit.container && $0.header == unit.header }
        let isOther = isBroken || segment.isDiscontinuous || isSame != true
        if sink.isSplitDue, sink.split(unit.container) {
            try begin(unit)
        } else if isOther, current == nil || allowance.take(at: now) {
            try sink.beginPart(unit.container)
            try begin(unit)
        } else if isOther, current?.container != unit.container {
            // Not written before `dueTime`, but for a clock that stands still.
            try sink.beginPart(unit.container)
            try begin(unit)
        } else if isOther {
            sink.note(.partJoined)
            if isSame == true { try markGap(before: unit) } else { try begin(unit) }
            isBroken = false
        } else if latest.map({ segment.sequence != $0.addingWithSaturation(1) }) ?? false {
            try markGap(before: unit)
        }
        try sink.append(unit.media.span)
        allowance.wrote(unit.media.count)
        latest = segment.sequence
    }

    /// Fragments carry their times, and need no mark.
    private func markGap(before unit: MediaUnit) throws(SystemError) {
        guard unit.container == .mpegTS else { return }
        try sink.append(TransportStream.discontinuityMarkers(before: unit.media).span)
    }

    private mutating func begin(_ unit: MediaUnit) throws(SystemError) {
        (current, isBroken) = ((unit.container, unit.header), false)
        if let header = unit.header { try sink.append(header.span) }
    }
}

/// How many more parts a recording may begin: sixteen at once, and then one for each five seconds, or 8 MiB of media.
///
/// An origin that puts a break before every kilobyte would otherwise fill the disk with files, not with media.
struct PartAllowance {
    private static let limit = 16
    private static let pause = Duration.seconds(5)
    private static let bytes = 8 << 20

    private var left = limit
    private var bytesSince = 0
    /// When the allowance was last counted up for the time that passed.
    private var countedAt: BootTime?

    /// Takes one part of the allowance; `false` when there is none left.
    mutating func take(at now: BootTime) -> Bool {
        countUp(at: now)
        guard left > 0 else { return false }
        left -= 1
        return true
    }

    /// When there is a part to take; `nil` for now.
    func dueTime(at now: BootTime) -> BootTime? {
        var counted = self
        counted.countUp(at: now)
        return counted.left > 0 ? nil : counted.countedAt?.advanced(by: Self.pause)
    }

    mutating func wrote(_ count: Int) {
        bytesSince += count
        let parts = bytesSince / Self.bytes
        bytesSince %= Self.bytes
        left = min(Self.limit, left + parts)
    }

    private mutating func countUp(at now: BootTime) {
        let since = countedAt ?? now
        let pauses = min(Int64(Self.limit), now.since(since).components.seconds / 5)
        left = min(Self.limit, left + Int(pauses))
        countedAt = left == Self.limit ? now : since.advanced(by: Self.pause * Int(pauses))
    }
}
