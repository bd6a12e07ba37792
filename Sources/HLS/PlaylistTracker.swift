import Fetch
import FoundationEssentials
import Posix

/// Follows the playlist of a live stream: which segments are new, when to load it again, and when the stream is over.
///
/// Pure: loads and their times come in, decisions go out. A segment is identified by its number; its name only tells where it
/// is now, and may change from load to load. Names, and where they decide nothing the bytes of one segment, tell an old copy
/// of the playlist, or one whose window slides without a change of `EXT-X-MEDIA-SEQUENCE`, from numbers that begin anew.
struct PlaylistTracker: Sendable {
    /// The result of one load of the playlist.
    struct Update: Equatable, Sendable {
        /// To be fetched, in order; the first after a break of any kind is marked as discontinuous.
        var segments: [MediaSegment] = []
        /// Segments that left the playlist before they were seen, or that it marks as gaps.
        var missed = 0
        /// Whether the numbers began again, lower or much higher; the segments are then those of the new sequence.
        var isRestarted = false
        /// All segments of the playlist, with the numbers by which they are known here.
        var current: [MediaSegment] = []
        /// Whether the window moved, and the number of its first segment did not say so.
        var isRenumbered = false
        /// Whether no more segments are expected: `EXT-X-ENDLIST`, or none for too long.
        var isLast = false
        /// To be fetched, so that its bytes tell what the numbers mean: the same playlist is then taken again, with `Probe`.
        var probe: MediaSegment?
    }

    /// What fetching a segment for `Update.probe` has shown.
    struct Probe: Equatable, Sendable {
        let number: UInt64
        /// `nil` where it could not be fetched.
        let content: ContentHash?
    }

    /// The shortest time between the starts of two loads.
    private let minReloadInterval: Duration
    private let startPoint: StartPoint
    /// The number of the next new segment; `nil` before the first load.
    private var next: UInt64?
    /// What is added to the numbers of the playlist, with overflow: its window slid that far without a change of its numbers.
    private var shift: UInt64 = 0
    /// The first number of the current sequence.
    private var sequenceStart: UInt64 = 0
    /// Whether recording was interrupted after `next`.
    private var wasInterrupted = false
    /// The `EXT-X-DISCONTINUITY` tags of the whole stream up to `next`.
    private var discontinuities: UInt64 = 0
    private var window = Window()
    private var known = KnownSegments()
    /// First and last number of a playlist that lies below the window: an old copy, or the beginning of a new sequence.
    private var suspect: (first: UInt64, last: UInt64)?
    /// Whether bytes have shown that names change while segments stay what they are.
    private var hasVolatileNames = false
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

    /// Says that the playlist may come from another address from now on, where segments may have other names and other bytes.
    mutating func variantChanged() {
        known = KnownSegments()
    }

    /// Takes note of the bytes of a segment, by which it can be recognized under another name or number.
    mutating func recorded(_ number: UInt64, _ content: ContentHash) {
        known.note(content, of: number)
    }

    /// When to load the playlist next, measured from the start of the latest load.
    private(set) var nextLoad = BootTime(nanoseconds: 0)

    /// Takes a playlist whose load began at `start`; once more, with what the probe has shown, where the first time asked for one.
    mutating func take(
        _ playlist: MediaPlaylist,
        loadedAt start: BootTime,
        probe: Probe? = nil
    ) -> Update {
        var update = newSegments(in: playlist, loadedAt: start, probe)
        guard update.probe == nil else { return update }
        let target = playlist.reloadTarget
        let changed = !update.segments.isEmpty || update.missed > 0
        unchangedLoads = changed ? 0 : unchangedLoads + 1
        if changed || lastNewSegment == nil { lastNewSegment = start }
        // RFC 8216, section 6.3.4: one target duration after a change, half of it otherwise.
        nextLoad = start.advanced(by: max(minReloadInterval, changed ? target : target / 2))
        // Some servers announce a target far below what their segments last.
        let longest = playlist.segments.map(\.duration).max() ?? .zero
        let pause = max(target, min(longest, .seconds(60)))
        update.isLast = playlist.hasEnded || isSilent(at: start, target: pause)
        return update
    }

    /// Requires several loads: time in which no load succeeded does not show that the stream is silent.
    private func isSilent(at now: BootTime, target: Duration) -> Bool {
        guard let lastNewSegment, unchangedLoads >= 3 else { return false }
        return now.since(lastNewSegment) >= max(.seconds(5), target * 3)
    }

    private mutating func newSegments(
        in playlist: MediaPlaylist,
        loadedAt now: BootTime,
        _ probe: Probe?
    ) -> Update {
        var segments = playlist.segments
        for index in segments.indices { segments[index].sequence &+= shift }
        guard let raw = playlist.segments.first?.sequence else { return Update() }
        var update = Update()
        switch relation(of: segments, in: playlist, loadedAt: now, probe) {
        case .known:
            update.current = segments
            return update
        case .doubtful(let segment):
            update.probe = segment
            return update
        case .continued: break
        case .moved(let distance):
            shift &+= distance
            for index in segments.indices { segments[index].sequence &+= distance }
            update.isRenumbered = true
        case .restarted:
            // Only what a playlist has announced is known to be missed.
            if let next, !wasInterrupted {
                update.missed = Int(clamping: window.end.subtractingWithSaturation(next))
            }
            if let suspect, suspect.last >= raw &+ shift, raw &+ shift > suspect.first {
                let missed = Int(clamping: raw &+ shift - suspect.first)
                update.missed = update.missed.addingWithSaturation(missed)
            }
            segments = playlist.segments
            (update.isRestarted, self.next, shift) = (true, nil, 0)
            (known, hasVolatileNames) = (KnownSegments(), false)
        }
        suspect = nil
        update.current = segments
        guard let first = segments.first, let last = segments.last else { return update }
        let start =
            update.isRestarted ? first.sequence : startPoint.first(of: playlist, segments).sequence
        // After an interruption the recording begins as at first, but repeats no segment.
        let expected = wasInterrupted ? max(start, next ?? start) : next ?? start
        wasInterrupted = false
        let isBeginning = next == nil && !update.isRestarted
        if next == nil { sequenceStart = expected }
        let fresh = segments.drop { $0.sequence < expected }
        if first.sequence > expected {
            let missed = Int(clamping: first.sequence - expected)
            update.missed = update.missed.addingWithSaturation(missed)
        }
        // Of missed segments only the number of discontinuities is known; a server that does not count them reports none.
        let isBroken = update.missed > 0 && playlist.discontinuitySequence > discontinuities
        take(
            fresh,
            isBroken: update.isRestarted || isBroken,
            isBeginning: isBeginning,
            into: &update
        )
        discontinuities = playlist.discontinuitySequence.addingWithSaturation(
            UInt64(segments.count { $0.isDiscontinuous })
        )
        window = Window(segments, loadedAt: now)
        known.note(segments)
        next = max(next ?? 0, last.sequence.addingWithSaturation(1))
        return update
    }

    /// What the numbers of a playlist mean, compared with those that are known.
    private enum Relation {
        /// Its new numbers are new segments.
        case continued
        /// Unchanged, or an old copy.
        case known
        /// The same sequence, its numbers this far lower (modulo 2^64).
        case moved(by: UInt64)
        /// Another sequence: an encoder has started anew.
        case restarted
        /// One of these, depending on the bytes of this segment.
        case doubtful(MediaSegment)
    }

    private mutating func relation(
        of segments: [MediaSegment],
        in playlist: MediaPlaylist,
        loadedAt now: BootTime,
        _ probe: Probe?
    ) -> Relation {
        guard let next, let first = segments.first?.sequence, let last = segments.last?.sequence
        else {
            return .continued
        }
        let isBelow = isLower(last, than: next)
        let hasLeapt =
            !isBelow && !wasInterrupted && window.isExceeded(by: segments, loadedAt: now)
        if let probe {
            guard let content = probe.content else {
                return isBelow || hasLeapt ? .known : .continued
            }
            guard let number = known.number(of: content, nearest: probe.number) else {
                return .restarted
            }
            guard number == probe.number else { return .moved(by: number &- probe.number) }
            hasVolatileNames = true
            return isBelow ? .known : .continued
        }
        if hasLeapt { return doubt(segments) ?? .restarted }
        if let distance = window.slide(to: segments) { return .moved(by: distance) }
        let names = known.comparison(with: segments)
        if !isBelow {
            guard names == .different, !hasVolatileNames else { return .continued }
            return doubt(segments) ?? .continued
        }
        switch names {
        case .same: return .known
        case .nothingToCompare where !isLower(last, than: window.first): return .known
        case .alike where !known.hasContents: return .known
        case .nothingToCompare, .alike, .different: break
        }
        guard isLower(last, than: window.first) else {
            // Where names change all the time, only a silence is a reason to look.
            guard !hasVolatileNames || unchangedLoads % 4 == 2 else { return .known }
            return doubt(segments) ?? .restarted
        }
        if playlist.discontinuitySequence > discontinuities { return .restarted }
        // Below the window: an old copy, or a new sequence, as soon as it is seen to grow.
        guard let before = suspect, last > before.last else {
            suspect = (suspect?.first ?? first, last)
            return .known
        }
        return (names == .nothingToCompare ? nil : doubt(segments)) ?? .restarted
    }

    /// Compares numbers; those that are shifted go round.
    private func isLower(_ number: UInt64, than other: UInt64) -> Bool {
        shift == 0 ? number < other : Int64(bitPattern: number &- other) < 0
    }

    /// The segment to be fetched, where one of the known numbers has known bytes, or any has and the numbers may mean nothing.
    private func doubt(_ segments: [MediaSegment]) -> Relation? {
        guard known.hasContents else { return nil }
        let readable = segments.filter { !$0.isGap && !$0.isUnreadable }
        return (readable.first { known.hasContent(of: $0.sequence) } ?? readable.first).map {
            .doubtful($0)
        }
    }

    /// Omits gaps, and marks the segment after a discontinuous gap as discontinuous.
    ///
    /// Gaps before the first segment of all were never there to be missed.
    private func take(
        _ fresh: ArraySlice<MediaSegment>,
        isBroken: Bool,
        isBeginning: Bool,
        into update: inout Update
    ) {
        var isBroken = isBroken
        for var segment in fresh {
            isBroken = isBroken || segment.isDiscontinuous
            guard !segment.isGap else {
                if !isBeginning || !update.segments.isEmpty {
                    update.missed = update.missed.addingWithSaturation(1)
                }
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
    fileprivate func first(of playlist: MediaPlaylist, _ segments: [MediaSegment]) -> MediaSegment {
        guard self == .live, !playlist.hasEnded else { return segments[0] }
        let total = segments.duration
        let wanted = playlist.startOffset ?? .zero - playlist.targetDuration * 3
        let offset = wanted < .zero ? total + wanted : wanted
        var end = Duration.zero
        for segment in segments {
            end += segment.duration
            if end > offset { return segment }
        }
        return segments[segments.count - 1]
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

/// The latest playlist that brought news, as far as needed to tell how another one follows it.
private struct Window: Sendable {
    private(set) var first: UInt64 = 0
    /// The number after the last one.
    private(set) var end: UInt64 = 0
    private var names: [SegmentNames] = []
    private var loadedAt = BootTime(nanoseconds: 0)
    private var length = Duration.zero

    init() {}

    init(_ segments: [MediaSegment], loadedAt: BootTime) {
        first = segments.first?.sequence ?? 0
        end = (segments.last?.sequence ?? 0).addingWithSaturation(1)
        self.loadedAt = loadedAt
        length = segments.duration
        names = segments.map { SegmentNames($0) }
    }

    /// Whether `other` begins so far behind this window that the time since then does not explain it.
    ///
    /// A server may have gone on faster than it says, and a cache may have answered with an old copy: what twice the time,
    /// two minutes and as many segments as the window has can hold counts as a gap.
    func isExceeded(by other: [MediaSegment], loadedAt now: BootTime) -> Bool {
        guard let first = other.first?.sequence, first > end else { return false }
        let known = length / max(1, names.count)
        let average = max(min(known, other.duration / max(1, other.count)), .milliseconds(100))
        let explained = now.since(loadedAt) * 2 + .seconds(120)
        return (Double(first - end) - Double(names.count)) * average.inSeconds > explained.inSeconds
    }

    /// How many segments have left in front of `other`, whose first number is that of this window; `nil` where names do not
    /// show that any has.
    func slide(to other: [MediaSegment]) -> UInt64? {
        guard let number = other.first?.sequence, number == first, let known = names.first else {
            return nil
        }
        let otherFirst = SegmentNames(other[0])
        for level in SegmentNames.levels where otherFirst[keyPath: level] != known[keyPath: level] {
            let others = other.map { SegmentNames($0) }
            let (before, after) = (
                names.map { $0[keyPath: level] }, others.map { $0[keyPath: level] }
            )
            guard Set(after).count == after.count, let distance = before.firstIndex(of: after[0])
            else {
                continue
            }
            if zip(before[distance...], after).allSatisfy({ $0 == $1 }) { return UInt64(distance) }
        }
        return nil
    }
}

/// What is remembered of the latest segments, by number.
private struct KnownSegments: Sendable {
    /// As many as a window of an hour has.
    private static let limit = 1024

    enum Comparison {
        case same
        /// Only the last components of their paths are the same.
        case alike
        case different, nothingToCompare
    }

    private var names: [UInt64: SegmentNames] = [:]
    private var contents: [UInt64: ContentHash] = [:]

    var hasContents: Bool { !contents.isEmpty }

    func hasContent(of number: UInt64) -> Bool { contents[number] != nil }

    /// The number of the segment with these bytes; of several the one nearest to `wanted`.
    func number(of content: ContentHash, nearest wanted: UInt64) -> UInt64? {
        let distance = { (number: UInt64) in number > wanted ? number - wanted : wanted - number }
        return contents.filter { $0.value == content }.keys.min { distance($0) < distance($1) }
    }

    mutating func note(_ segments: [MediaSegment]) {
        for segment in segments.suffix(Self.limit) {
            names[segment.sequence] = SegmentNames(segment)
        }
        guard let last = segments.last?.sequence, names.count > 2 * Self.limit else { return }
        let oldest = last.subtractingWithSaturation(UInt64(Self.limit))
        names = names.filter { $0.key > oldest && $0.key <= last }
    }

    mutating func note(_ content: ContentHash, of number: UInt64) {
        contents[number] = content
        guard contents.count > 2 * Self.limit else { return }
        let oldest = number.subtractingWithSaturation(UInt64(Self.limit))
        contents = contents.filter { $0.key > oldest && $0.key <= number }
    }

    /// Whether segments have the names that are known for their numbers, in the first way of naming that tells segments apart.
    func comparison(with segments: [MediaSegment]) -> Comparison {
        let pairs = segments.compactMap { segment in
            names[segment.sequence].map {
                (known: $0, new: SegmentNames(segment), number: segment.sequence)
            }
        }
        var result = Comparison.nothingToCompare
        for level in SegmentNames.levels + [\.date] {
            let tellsApart = pairs.allSatisfy { pair in
                names[pair.number &- 1]?[keyPath: level] != pair.new[keyPath: level]
                    && pair.new[keyPath: level] != PathHash()
            }
            guard tellsApart, !pairs.isEmpty else { continue }
            let same = pairs.count { $0.known[keyPath: level] == $0.new[keyPath: level] }
            if same * 2 > pairs.count {
                guard level == \.file else { return .same }
                result = .alike
            } else if level != \.date, result == .nothingToCompare {
                result = .different
            }
        }
        return result
    }
}

/// What a segment is called, in the ways that may stay while others change; never with the host.
private struct SegmentNames: Sendable {
    /// As written, with its query.
    private(set) var reference = PathHash()
    /// Without query.
    private(set) var path = PathHash()
    /// The last component of the path: with signed paths it is all that stays.
    private(set) var file = PathHash()
    /// `EXT-X-PROGRAM-DATE-TIME`; equal dates tell the same segment, others may be computed anew.
    private(set) var date = PathHash()

    static var levels: [KeyPath<SegmentNames, PathHash>] { [\.reference, \.path, \.file] }

    init(_ segment: MediaSegment) {
        let text = segment.address.text.utf8
        let end =
            text.firstIndex { $0 == UInt8(ascii: "?") || $0 == UInt8(ascii: "#") } ?? text.endIndex
        let start = text[..<end].lastIndex(of: UInt8(ascii: "/")).map { text.index(after: $0) }
        reference.add(text)
        segment.address.addPath(to: &path)
        file.add(text[(start ?? text.startIndex)..<end])
        if let range = segment.range {
            let offset = "@\(range.offset)".utf8
            reference.add(offset)
            path.add(offset)
            file.add(offset)
        }
        date.add((segment.programDateTime ?? "").utf8)
    }
}

/// Recognizes the bytes of a segment: its size, and FNV-1a of its first and last 8 KiB.
///
/// Media of a live stream differs there: time stamps and counters do.
struct ContentHash: Hashable, Sendable {
    private var count: Int
    private var ends = PathHash()

    init(_ bytes: [UInt8]) {
        count = bytes.count
        ends.add(bytes.prefix(8 << 10))
        ends.add(bytes.dropFirst(8 << 10).suffix(8 << 10))
    }
}

extension [MediaSegment] {
    fileprivate var duration: Duration { reduce(.zero) { $0 + $1.duration } }
}
