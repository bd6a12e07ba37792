import FoundationEssentials
import Posix

/// Follows the playlist of a live stream: which segments are new, when to load it again, and when the stream is over.
///
/// Pure: gets the loads and their times, and returns decisions.
struct PlaylistTracker: Sendable {
    /// The result of one load of the playlist.
    struct Update: Equatable, Sendable {
        /// To be fetched, in order; the first after a break of any kind is marked as discontinuous.
        var segments: [MediaSegment] = []
        /// Segments that left the playlist before they were seen, or that it marks as gaps.
        var missed = 0
        /// Whether the numbers began again, lower or much higher; the segments are then those of the new sequence.
        var isRestarted = false
        /// Whether no more segments are expected: `EXT-X-ENDLIST`, or none for too long.
        var isLast = false
    }

    /// The shortest time between the starts of two loads.
    private let minReloadInterval: Duration
    private let startPoint: StartPoint
    /// The number of the next new segment; `nil` before the first load.
    private var next: UInt64?
    /// The first number of the current sequence.
    private var sequenceStart: UInt64 = 0
    /// Whether recording was interrupted after `next`.
    private var wasInterrupted = false
    /// The `EXT-X-DISCONTINUITY` tags of the whole stream up to `next`.
    private var discontinuities: UInt64 = 0
    private var window = Window()
    /// The start of the latest load with new segments, and the number of loads without since then.
    private var lastNewSegment: BootTime?
    private var unchangedLoads = 0

    init(minReloadInterval: Duration = .milliseconds(500), from startPoint: StartPoint = .start) {
        (self.minReloadInterval, self.startPoint) = (minReloadInterval, startPoint)
    }

    /// The same place in the stream, for a reader that starts after a pause.
    ///
    /// The time before does not count as silence, and segments from `sequence` on are new again.
    func resumed(from sequence: UInt64?) -> PlaylistTracker {
        var resumed = self
        (resumed.lastNewSegment, resumed.unchangedLoads) = (nil, 0)
        guard let sequence, next != nil else { return resumed }
        // A segment of an earlier sequence cannot be fetched any more, and its number has no meaning in the current one.
        resumed.next = (sequenceStart...window.end).contains(sequence) ? sequence : sequenceStart
        return resumed
    }

    /// Recording is interrupted: what the stream plays until it continues does not count as missed.
    mutating func interrupted() {
        wasInterrupted = true
    }

    /// The playlist may have another address from now on, where segments may have other names.
    mutating func variantChanged() {
        window.variantHasChanged = true
    }

    /// When to load the playlist next, measured from the start of the latest load.
    private(set) var nextLoad = BootTime(nanoseconds: 0)

    /// Follows a playlist whose load began at `start`.
    mutating func take(_ playlist: MediaPlaylist, loadedAt start: BootTime) -> Update {
        var update = newSegments(in: playlist, loadedAt: start)
        let target = playlist.reloadTarget
        let changed = !update.segments.isEmpty || update.missed > 0
        unchangedLoads = changed ? 0 : unchangedLoads + 1
        if changed || lastNewSegment == nil { lastNewSegment = start }
        // RFC 8216, section 6.3.4: one target duration after a change, half of it otherwise.
        nextLoad = start.advanced(by: max(minReloadInterval, changed ? target : target / 2))
        update.isLast = playlist.hasEnded || isSilent(at: start, target: target)
        return update
    }

    /// Requires several loads: time in which no load succeeded does not show that the stream is silent.
    private func isSilent(at now: BootTime, target: Duration) -> Bool {
        guard let lastNewSegment, unchangedLoads >= 3 else { return false }
        return now.since(lastNewSegment) >= max(.seconds(5), target * 3)
    }

    private mutating func newSegments(in playlist: MediaPlaylist, loadedAt now: BootTime) -> Update
    {
        let segments = playlist.segments
        guard let first = segments.first, let last = segments.last else { return Update() }
        var update = Update()
        if let next, last.sequence < next {
            guard window.isReplaced(by: segments) else { return update }
            update.isRestarted = true
            self.next = nil
        } else if let next, !wasInterrupted, window.isExceeded(by: segments, loadedAt: now) {
            // Only what a playlist has announced is known to be missed.
            update.missed = Int(clamping: window.end.subtractingWithSaturation(next))
            update.isRestarted = true
            self.next = nil
        }
        let start = (update.isRestarted ? first : startPoint.first(of: playlist)).sequence
        // After an interruption the recording begins as at first, but repeats no segment.
        let expected = wasInterrupted ? max(start, next ?? start) : next ?? start
        wasInterrupted = false
        if next == nil { sequenceStart = expected }
        let fresh = segments.drop { $0.sequence < expected }
        if first.sequence > expected {
            let missed = Int(clamping: first.sequence - expected)
            update.missed = update.missed.addingWithSaturation(missed)
        }
        // Of missed segments only the number of discontinuities is known; a server that does not count them reports none.
        let isBroken = update.missed > 0 && playlist.discontinuitySequence > discontinuities
        take(fresh, isBroken: update.isRestarted || isBroken, into: &update)
        discontinuities = playlist.discontinuitySequence.addingWithSaturation(
            UInt64(segments.count { $0.isDiscontinuous })
        )
        window = Window(segments, loadedAt: now)
        next = window.end
        return update
    }

    /// Omits gaps, and marks the segment after a discontinuous gap as discontinuous.
    private func take(
        _ fresh: ArraySlice<MediaSegment>,
        isBroken: Bool,
        into update: inout Update
    ) {
        var isBroken = isBroken
        for var segment in fresh {
            isBroken = isBroken || segment.isDiscontinuous
            guard !segment.isGap else {
                update.missed = update.missed.addingWithSaturation(1)
                continue
            }
            segment.isDiscontinuous = isBroken
            isBroken = false
            update.segments.append(segment)
        }
    }
}

/// Where in a live stream a recording begins; a finished one is always recorded from its start.
package enum StartPoint: String, CaseIterable, Sendable {
    /// From the oldest segment in the playlist.
    case start
    /// From `EXT-X-START`, or else three target durations before the end.
    case live

    /// The first segment to record of a playlist that is not empty.
    fileprivate func first(of playlist: MediaPlaylist) -> MediaSegment {
        guard self == .live, !playlist.hasEnded else { return playlist.segments[0] }
        let total = playlist.segments.duration
        let wanted = playlist.startOffset ?? .zero - playlist.targetDuration * 3
        let offset = wanted < .zero ? total + wanted : wanted
        var end = Duration.zero
        for segment in playlist.segments {
            end += segment.duration
            if end > offset { return segment }
        }
        return playlist.segments[playlist.segments.count - 1]
    }
}

extension MediaPlaylist {
    /// The target duration, or the longest segment (1 s to 1 min) if the target is above a minute.
    ///
    /// Otherwise playlists of short segments with a wrong target would be loaded too rarely.
    fileprivate var reloadTarget: Duration {
        let limit = Duration.seconds(60)
        guard targetDuration > limit else { return targetDuration }
        let longest = segments.map(\.duration).max() ?? .zero
        return min(max(longest, .seconds(1)), limit)
    }
}

/// The segments of the latest playlist with new ones, as far as needed to distinguish an old copy from a new sequence.
///
/// At most as many as a playlist may have; 8 bytes and a number for each.
private struct Window: Sendable {
    private var segments: [UInt64: SegmentFingerprint] = [:]
    private var first: UInt64 = 0
    /// The number after the last one.
    private(set) var end: UInt64 = 0
    private var loadedAt = BootTime(nanoseconds: 0)
    private var length = Duration.zero
    /// The end of a playlist that lies completely below this window, and may be an old copy.
    private var suspect: UInt64?
    /// Whether names cannot be compared: the next playlist may be of another server.
    var variantHasChanged = false

    init() {}

    init(_ segments: [MediaSegment], loadedAt: BootTime) {
        first = segments.first?.sequence ?? 0
        end = (segments.last?.sequence ?? 0).addingWithSaturation(1)
        self.loadedAt = loadedAt
        length = segments.duration
        for segment in segments { self.segments[segment.sequence] = SegmentFingerprint(segment) }
    }

    /// Whether `other` begins so far after this window that the elapsed time does not explain it: it is another sequence.
    ///
    /// A server may be faster than its durations, and a cache may have returned an old copy: what fits into twice the time plus
    /// two minutes, plus as many segments as the window has, counts as a gap.
    func isExceeded(by other: [MediaSegment], loadedAt now: BootTime) -> Bool {
        guard let first = other.first?.sequence, first > end else { return false }
        let known = length / max(1, segments.count)
        let average = max(min(known, other.duration / max(1, other.count)), .milliseconds(100))
        let explained = now.since(loadedAt) * 2 + .seconds(120)
        return (Double(first - end) - Double(segments.count)) * average.inSeconds
            > explained.inSeconds
    }

    /// Whether `other`, all of whose numbers have been seen, belongs to a new sequence.
    ///
    /// A cache may return an old copy. A playlist whose numbers overlap this window is an old copy if it shares a segment
    /// with it, else a new sequence. One that lies completely below, where names may be reused, is a new sequence as soon
    /// as it grows.
    mutating func isReplaced(by other: [MediaSegment]) -> Bool {
        guard let last = other.last?.sequence else { return false }
        if last >= first {
            return !variantHasChanged
                && !other.contains { segments[$0.sequence] == SegmentFingerprint($0) }
        }
        defer { suspect = last }
        return suspect.map { last > $0 } ?? false
    }
}

extension [MediaSegment] {
    fileprivate var duration: Duration { reduce(.zero) { $0 + $1.duration } }
}

/// Identifies a segment without host and query, which may change from load to load.
private struct SegmentFingerprint: Equatable, Sendable {
    private var hash = PathHash()

    init(_ segment: MediaSegment) {
        segment.address.addPath(to: &hash)
        hash.add("\n".utf8)
        hash.add((segment.programDateTime ?? "").utf8)
    }
}
