import Media
package import Posix

/// Decides for each segment whether it continues the current part or begins another one; pure.
///
/// A part is one file, of one encoding, that plays by itself. A new part begins after a break and with another header. Where
/// parts begin too often, a segment continues the current part: after its own header, or after packets that announce other time stamps.
package struct PartSequence: Sendable {
    package struct Placement: Equatable, Sendable {
        package var beginsPart = false
        /// To write before the segment: the header of fragmented MP4, or packets that mark a gap.
        package var prefix: [UInt8] = []
        /// Whether a break began no part because parts began too often.
        package var isJoined = false
    }

    /// The encoding of the current part; `nil` before the first segment.
    private var current: (container: MediaContainer, header: [UInt8]?)?
    private var latestNumber: UInt64?
    private var allowance = PartAllowance()

    package init() {}

    /// When the segment may be placed; `nil` for now.
    ///
    /// No file can hold two containers: where parts begin too often, a segment of another container has to wait.
    package func dueTime(of unit: MediaUnit, at now: BootTime) -> BootTime? {
        guard let current, current.container != unit.container else { return nil }
        return allowance.dueTime(at: now)
    }

    package mutating func place(
        _ unit: MediaUnit,
        number: UInt64,
        isDiscontinuous: Bool,
        at now: BootTime
    ) -> Placement {
        defer {
            latestNumber = number
            allowance.wrote(unit.media.count)
        }
        guard let current else { return begin(unit) }
        let isSameEncoding = current.container == unit.container && current.header == unit.header
        if isSameEncoding, !isDiscontinuous {
            let isNext = latestNumber.map { number == $0.addingWithSaturation(1) } ?? true
            return Placement(prefix: isNext ? [] : markers(before: unit))
        }
        // Another container is not placed before `dueTime`, unless the clock stands still.
        if allowance.take(at: now) || current.container != unit.container { return begin(unit) }
        self.current = (unit.container, unit.header)
        let prefix = isSameEncoding ? markers(before: unit) : unit.header ?? []
        return Placement(prefix: prefix, isJoined: true)
    }

    private mutating func begin(_ unit: MediaUnit) -> Placement {
        current = (unit.container, unit.header)
        return Placement(beginsPart: true, prefix: unit.header ?? [])
    }

    /// Only for transport streams: fragments carry their times, and need no mark.
    private func markers(before unit: MediaUnit) -> [UInt8] {
        guard unit.container == .mpegTS else { return [] }
        return TransportStream.discontinuityMarkers(before: unit.media)
    }
}

/// How many parts a recording may begin: sixteen at once, then one per five seconds or per 8 MiB of media.
///
/// Otherwise an origin with a break before every kilobyte would fill the disk with files, not with media.
struct PartAllowance {
    private static let max = 16
    private static let interval = Duration.seconds(5)
    private static let bytes = 8 << 20

    private var left = max
    private var bytesSince = 0
    /// When the allowance was last increased for the time that passed.
    private var increasedAt: BootTime?

    /// Uses one part of the allowance; `false` when none is left.
    mutating func take(at now: BootTime) -> Bool {
        increase(at: now)
        guard left > 0 else { return false }
        left -= 1
        return true
    }

    /// When another part is allowed; `nil` for now.
    func dueTime(at now: BootTime) -> BootTime? {
        var later = self
        later.increase(at: now)
        return later.left > 0 ? nil : later.increasedAt?.advanced(by: Self.interval)
    }

    mutating func wrote(_ count: Int) {
        bytesSince += count
        let parts = bytesSince / Self.bytes
        bytesSince %= Self.bytes
        left = min(Self.max, left + parts)
    }

    private mutating func increase(at now: BootTime) {
        let since = increasedAt ?? now
        let intervals = min(Int64(Self.max), now.since(since).components.seconds / 5)
        left = min(Self.max, left + Int(intervals))
        increasedAt = left == Self.max ? now : since.advanced(by: Self.interval * Int(intervals))
    }
}
