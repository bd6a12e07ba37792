import Foundation
import Posix

/// Follows the playlist of a live stream: which segments are new, when to load it again, and when the stream is over.
///
/// Pure: loads and their times come in, decisions go out.
struct PlaylistTracker: Sendable {
    /// What one load of the playlist has brought.
    struct Update: Equatable, Sendable {
        /// To be fetched, in order.
        var segments: [MediaSegment] = []
        /// Segments that have left the playlist unseen, or that it marks as a gap.
        var missed = 0
        /// Whether the numbers have begun anew; the segments are then those of the new sequence.
        var isReset = false
        /// Whether nothing more is to be expected: `EXT-X-ENDLIST`, or silence for too long.
        var isLast = false
    }

    /// The shortest time between the starts of two loads.
    private let floor: Duration
    /// The number of the next new segment; `nil` before the first load.
    private var next: UInt64?
    /// The segment that is being fetched.
    private var underWay: UInt64?
    private var window = Window()
    /// The start of the latest load that brought news, and the loads since then that did not.
    private var lastNews: BootTime?
    private var quietLoads = 0

    init(floor: Duration = .milliseconds(500)) {
        self.floor = floor
    }

    /// The same place in the stream, for a run that starts after a pause: the silence before it does not count, and
    /// what the run before did not complete is new again.
    var resumed: PlaylistTracker {
        var resumed = self
        (resumed.lastNews, resumed.quietLoads) = (nil, 0)
        (resumed.next, resumed.underWay) = (underWay ?? next, nil)
        return resumed
    }

    /// Says that a segment of the latest update is being fetched, and those before it are done with.
    mutating func begin(_ segment: MediaSegment) {
        underWay = segment.sequence
    }

    /// Says that all segments of the latest update are done with.
    mutating func completeAll() {
        underWay = nil
    }

    /// When to load the playlist next, measured from the start of the latest load.
    private(set) var nextLoad = BootTime(nanoseconds: 0)

    /// Takes a playlist whose load began at `start`.
    mutating func take(_ playlist: MediaPlaylist, loadedAt start: BootTime) -> Update {
        var update = news(in: playlist.segments)
        let target = playlist.targetDuration
        let changed = !update.segments.isEmpty || update.missed > 0
        quietLoads = changed ? 0 : quietLoads + 1
        if changed || lastNews == nil { lastNews = start }
        // RFC 8216, section 6.3.4: one target duration after a change, half of it otherwise.
        nextLoad = start.advanced(by: max(floor, changed ? target : target / 2))
        update.isLast = playlist.hasEnded || isSilent(at: start, target: target)
        return update
    }

    /// Several loads must agree: time in which none succeeded is not silence of the stream.
    private func isSilent(at now: BootTime, target: Duration) -> Bool {
        guard let lastNews, quietLoads >= 3 else { return false }
        return now.since(lastNews) >= max(.seconds(5), target * 3)
    }

    private mutating func news(in segments: [MediaSegment]) -> Update {
        guard let first = segments.first, let last = segments.last else { return Update() }
        var update = Update()
        if let next, last.sequence < next {
            guard window.isReplaced(by: segments) else { return update }
            update.isReset = true
            self.next = nil
        }
        let expected = next ?? first.sequence
        window = Window(segments)
        next = last.sequence + 1
        let fresh = segments.drop { $0.sequence < expected }
        update.segments = fresh.filter { !$0.isGap }
        update.missed = fresh.count - update.segments.count
        if first.sequence > expected {
            update.missed += Int(clamping: first.sequence - expected)
        }
        return update
    }
}

/// The segments of the latest playlist that brought news, as far as needed to tell an old copy from a new sequence.
private struct Window: Sendable {
    private var segments: [UInt64: Identity] = [:]
    private var first: UInt64 = 0
    /// The end of a window that lies wholly below this one, and may be an old copy.
    private var suspect: UInt64?

    init() {}

    init(_ segments: [MediaSegment]) {
        first = segments.first?.sequence ?? 0
        for segment in segments { self.segments[segment.sequence] = Identity(segment) }
    }

    /// Whether `other`, all of whose numbers have been seen, belongs to a new sequence.
    ///
    /// A cache may answer with an old copy. A playlist whose numbers reach into this window is one when it shares a
    /// segment with it, else a new sequence. One that lies wholly below, where names may be used again, is a new
    /// sequence as soon as it is seen to grow.
    mutating func isReplaced(by other: [MediaSegment]) -> Bool {
        guard let last = other.last?.sequence else { return false }
        if last >= first {
            return !other.contains { segments[$0.sequence] == Identity($0) }
        }
        defer { suspect = last }
        return suspect.map { last > $0 } ?? false
    }
}

/// What a segment is recognised by; not by host or query, which may change from load to load.
private struct Identity: Equatable, Sendable {
    let path: String
    let programDateTime: String?

    init(_ segment: MediaSegment) {
        path = segment.url.path
        programDateTime = segment.programDateTime
    }
}
