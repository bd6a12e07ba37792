import Glibc
package import Posix
import Synchronization

/// Reads the segment of a path again and again, cheaply: as long as no record changes, only the words are copied.
///
/// It never maps the file, so that no writer, however broken or hostile, can crash it.
package struct SegmentReader {
    /// How often a file without an owner may be replaced during one read.
    private static let maxReplacements = 8

    package let path: String
    private let bootID: BootID
    private var segment: OpenSegment?
    private var heartbeats = HeartbeatObserver()
    /// Set when the run published in another file.
    private var minimum: CounterMinimum?

    package init(path: String, bootID: BootID = .current()) {
        (self.path, self.bootID) = (path, bootID)
    }

    /// Takes a snapshot of the file that has the path's name now.
    ///
    /// - Parameters:
    ///   - isSameFile: the caller knows that this is the file of the last snapshot: looking it up by its path costs as much
    ///     as reading it.
    ///   - previous: the last snapshot of this path; the counters of its run do not fall below it when the run publishes in
    ///     another file.
    /// - Returns: the snapshot, judged at the moment of the read.
    /// - Throws: `.missing` also for a file without an owner whose name is gone after it was read.
    package mutating func snapshot(
        isSameFile: Bool = false,
        after previous: Snapshot? = nil
    ) throws(SegmentError) -> Snapshot {
        let former = segment
        var segment = try current(isSameFile: isSameFile)
        var reading = try Reading(segment)
        if !reading.isOwned { reading = try confirm(reading, &segment, former) }
        if segment !== former { minimum = previous.map(CounterMinimum.init) }
        minimum?.raise(&reading.words, of: reading.contents)
        if minimum?.isReached == true { minimum = nil }
        let now = BootTime.now()
        heartbeats.note(reading.heartbeat, of: reading.contents.identity, at: now)
        return Snapshot(
            reading.contents,
            words: reading.words,
            isOwned: reading.isOwned,
            now: now,
            wall: .now(),
            bootID: bootID,
            unchangedFor: heartbeats.unchangedFor,
            hasOtherClock: heartbeats.areOfOtherClock
        )
    }

    /// Makes sure that a file without an owner is the one by which its recorder is found.
    ///
    /// A recorder may have published in another file and given up this one since its name was looked up. A file that was
    /// moved or copied over the name of a recorder that is running says nothing about that recorder: `former` does.
    private mutating func confirm(
        _ found: Reading,
        _ segment: inout OpenSegment,
        _ former: OpenSegment?
    ) throws(SegmentError) -> Reading {
        var reading = found
        for _ in 0..<Self.maxReplacements {
            let named = try current(isSameFile: false)
            if named === segment {
                guard let former, former !== segment, let other = try? Reading(former),
                    other.isOwned, other.isAlive(bootID)
                else { return reading }
                (segment, self.segment) = (former, former)
                return other
            }
            segment = named
            reading = try Reading(segment)
            if reading.isOwned { return reading }
        }
        throw .missing
    }

    /// What was read of a file at once.
    private struct Reading {
        /// Whether a process held the lock before the rest was read: if none did, this is the owner's final state.
        let isOwned: Bool
        let contents: SegmentContents
        var words: [UInt64]

        init(_ segment: OpenSegment) throws(SegmentError) {
            isOwned = try SegmentError.wrapping { () throws(SystemError) in
                try segment.file.isLockedElsewhere()
            }
            (contents, words) = try segment.read()
        }

        var heartbeat: BootTime { BootTime(nanoseconds: words[SegmentWord.heartbeat]) }

        func isAlive(_ bootID: BootID) -> Bool {
            Snapshot(contents, words: words, isOwned: isOwned, now: .now(), bootID: bootID).verdict
                == .alive
        }
    }

    /// The open file, opened anew when another one has its name: a following run's.
    private mutating func current(isSameFile: Bool) throws(SegmentError) -> OpenSegment {
        if isSameFile, let segment { return segment }
        do throws(SystemError) {
            let status = try FileSystem.status(of: path)
            if let segment, segment.isFile(status) { return segment }
            let file = try FileDescriptor(opening: path, O_RDONLY | O_NONBLOCK)
            let opened = try OpenSegment(file)
            segment = opened
            return opened
        } catch {
            segment = nil
            throw error.code == ENOENT ? .missing : .unreadable(error)
        }
    }
}

/// A segment's file that is open, and what was last read of it.
private final class OpenSegment {
    /// Reads of the whole file before one is given up, or taken although the writer changed records meanwhile.
    private static let (attempts, settledAttempts) = (8, 3)

    let file: FileDescriptor
    private let device: dev_t
    private let inode: ino_t
    /// Written once, before the file got its name.
    private var header: SegmentHeader?
    /// Publishers of version 0.1.0 wrote none.
    private var hadEndMark = false
    /// The records, or what is wrong with them, and the count of changes for which that is so.
    private var known: (changes: UInt64, records: Result<SegmentContents, SegmentError>)?

    init(_ file: consuming FileDescriptor) throws(SystemError) {
        let status = try file.status()
        (device, inode) = (status.st_dev, status.st_ino)
        self.file = file
    }

    func isFile(_ status: stat) -> Bool {
        status.st_dev == device && status.st_ino == inode
    }

    /// The records, and as many words as they refer to, with room behind them for those that a snapshot adds.
    func read() throws(SegmentError) -> (SegmentContents, [UInt64]) {
        if let header, let known {
            let words = try words(header, for: known.records)
            if words[SegmentWord.change] == known.changes {
                return (try known.records.get(), words)
            }
        }
        return try readWhole(try currentHeader())
    }

    /// Reads until no record changed meanwhile, a bounded number of times.
    ///
    /// What is damaged then is damaged for good: while the count of changes stands still, at most one copy of one record
    /// is being written. A writer that never rests is taken as it comes, as soon as all records hold, each for itself.
    private func readWhole(
        _ header: SegmentHeader
    ) throws(SegmentError) -> (SegmentContents, [UInt64]) {
        var failure = SegmentError.damaged(.lifecycle)
        for attempt in 1...Self.attempts {
            let changes = try words(header, count: SegmentWord.firstFree)[SegmentWord.change]
            atomicMemoryFence(ordering: .sequentiallyConsistent)
            let records = try records(header)
            atomicMemoryFence(ordering: .sequentiallyConsistent)
            let words = try words(header, for: records)
            let isSettled = words[SegmentWord.change] == changes
            known = isSettled ? (changes, records) : nil
            switch records {
            case .success(let contents) where isSettled || attempt >= Self.settledAttempts:
                return (contents, words)
            case .success: continue
            case .failure(let error) where isSettled: throw error
            case .failure(let error): failure = error
            }
        }
        throw failure
    }

    /// The records of a copy of the file.
    private func records(
        _ header: SegmentHeader
    ) throws(SegmentError) -> Result<SegmentContents, SegmentError> {
        let bytes = try bytes(header.layout.fileSize)
        guard bytes.count == header.layout.fileSize else { throw .truncated }
        // A file that was cut and has grown again has zeros from there on.
        guard try SegmentHeader(bytes) == header else { throw .damaged(.header) }
        if let word = header.layout.endMarkWord {
            let hasMark = bytes.word(at: word * 8) == SegmentLayout.endMark
            guard hasMark || !hadEndMark else { throw .truncated }
            hadEndMark = hasMark
        }
        return Result { () throws(SegmentError) in
            SegmentContents(try SegmentRecords(bytes, header))
        }
    }

    /// The header of a file that is as long as it says.
    private func currentHeader() throws(SegmentError) -> SegmentHeader {
        let status = try SegmentError.wrapping { () throws(SystemError) in try file.status() }
        guard status.st_mode & S_IFMT == S_IFREG else { throw .notASegment }
        let found: SegmentHeader
        if let header {
            found = header
        } else {
            found = try SegmentHeader(try bytes(SegmentLayout.headerSize))
        }
        guard status.st_size >= found.layout.fileSize else { throw .truncated }
        header = found
        return found
    }

    private func bytes(_ count: Int) throws(SegmentError) -> [UInt8] {
        try SegmentError.wrapping { () throws(SystemError) in
            try file.bytes(at: 0, count: count)
        }
    }

    private func words(
        _ header: SegmentHeader,
        for records: Result<SegmentContents, SegmentError>
    ) throws(SegmentError) -> [UInt64] {
        guard case .success(let contents) = records else {
            return try words(header, count: SegmentWord.firstFree)
        }
        return try words(header, count: contents.fileWords, room: contents.addedWords)
    }

    private func words(
        _ header: SegmentHeader,
        count: Int,
        room: Int = 0
    ) throws(SegmentError) -> [UInt64] {
        let words = try SegmentError.wrapping { () throws(SystemError) in
            try file.words(at: header.layout[.words].offset, count: count, room: room)
        }
        guard let words else { throw .truncated }
        return words
    }
}

/// Measures by the reader's own clock for how long a heartbeat has not changed.
private struct HeartbeatObserver {
    private var heartbeat: BootTime?
    /// When this heartbeat was first seen, and when it was last seen.
    private var (since, last) = (BootTime(nanoseconds: 0), BootTime(nanoseconds: 0))
    private(set) var unchangedFor = Duration.zero
    /// Whether the recorder's `CLOCK_BOOTTIME` differs from the reader's, although both have one boot id.
    ///
    /// That is so where containers have time namespaces: the heartbeats are later than now, or a new one claims to be much
    /// older than the last look, which did not find it.
    private(set) var areOfOtherClock = false

    mutating func note(_ new: BootTime, of identity: RunIdentity, at now: BootTime) {
        if new != heartbeat {
            let timeout = Verdict.heartbeatTimeout(
                heartbeatInterval: .nanoseconds(identity.heartbeatInterval)
            )
            if heartbeat != nil, last.since(new) > timeout { areOfOtherClock = true }
            (heartbeat, since) = (new, now)
        }
        if new > now { areOfOtherClock = true }
        last = now
        unchangedFor = now.since(since)
    }
}

/// What counters and histograms of a run showed before the run published in another file.
///
/// What was counted within the last second before a file was cut is lost (see `PublishedSegment`). A counter that fell by that
/// would look like one that began anew at zero: it stays as it was until the count is that high again.
private struct CounterMinimum {
    private var series: [SeriesName: [UInt64]] = [:]
    private let runID: [UInt8]
    /// Where those that are still below are in the words; for these records only.
    private var positions: (contents: SegmentContents, entries: [(word: Int, name: SeriesName)])?

    private struct SeriesName: Hashable {
        let family: String
        let values: [ExactText]
    }

    init(_ snapshot: Snapshot) {
        runID = snapshot.contents.identity.runID
        Self.forEachSeries(of: snapshot.contents) { name, range in
            series[name] = Array(snapshot.words[range])
        }
    }

    var isReached: Bool { series.isEmpty }

    mutating func raise(_ words: inout [UInt64], of contents: SegmentContents) {
        guard contents.identity.runID == runID else {
            series = [:]
            return
        }
        if positions?.contents !== contents {
            var entries: [(word: Int, name: SeriesName)] = []
            Self.forEachSeries(of: contents) { name, range in
                guard series[name]?.count == range.count else { return }
                entries.append((range.lowerBound, name))
            }
            positions = (contents, entries)
        }
        positions?.entries.removeAll { word, name in
            var isBelow = false
            for (offset, least) in (series[name] ?? []).enumerated()
            where words[word + offset] < least {
                words[word + offset] = least
                isBelow = true
            }
            if !isBelow { series[name] = nil }
            return !isBelow
        }
    }

    /// Those that are counted in their cells; the others are derived from records, of which nothing is lost.
    private static func forEachSeries(
        of contents: SegmentContents,
        _ body: (SeriesName, Range<Int>) -> Void
    ) {
        for one in contents.series {
            let family = contents.families[one.family]
            guard family.isCarried, family.encoding == .integer,
                !MetricFamily.isReserved(family.name)
            else { continue }
            let name = SeriesName(family: family.name, values: one.values.map(ExactText.init))
            body(name, one.word..<one.word + family.wordsPerSeries)
        }
    }
}

extension FileDescriptor {
    /// `count` little-endian words from `offset`, and `room` zeros behind them; `nil` when the file ends before.
    fileprivate borrowing func words(
        at offset: Int,
        count: Int,
        room: Int
    ) throws(SystemError) -> [UInt64]? {
        var words = [UInt64](repeating: 0, count: count + room)
        var span = words.mutableSpan
        let filled = try unsafe span.withUnsafeMutableBytes { (buffer) throws(SystemError) in
            let wanted = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[..<(count * 8)])
            return try unsafe read(into: wanted, at: offset)
        }
        guard filled == count * 8 else { return nil }
        if 1.littleEndian != 1 { words = words.map(UInt64.init(littleEndian:)) }
        return words
    }
}

/// Why a segment gives no snapshot.
package enum SegmentError: Error, Equatable, CustomStringConvertible {
    /// A part of a segment whose checksum or content does not hold.
    package enum Part: String, Sendable {
        case header, lifecycle, families, series, recordings, history
    }

    /// There is no file.
    case missing
    /// The file could not be opened or read.
    case unreadable(SystemError)
    /// The file does not begin as a segment does.
    case notASegment
    /// Written in another major version of the layout.
    case unsupportedVersion(Int)
    /// The file is shorter than it says.
    case truncated
    /// Beyond the largest file that is read.
    case tooLarge
    case damaged(Part)
    /// The reader has no memory left for it.
    case noRoom

    /// Runs a system call on the file.
    static func wrapping<T>(_ call: () throws(SystemError) -> T) throws(SegmentError) -> T {
        do throws(SystemError) {
            return try call()
        } catch {
            throw .unreadable(error)
        }
    }

    /// A label value from a closed set.
    package var reason: String {
        switch self {
        case .missing: "missing"
        case .unreadable: "unreadable"
        case .notASegment: "not_a_segment"
        case .unsupportedVersion: "unsupported_version"
        case .truncated: "truncated"
        case .tooLarge: "too_large"
        case .damaged: "damaged"
        case .noRoom: "no_room"
        }
    }

    package static let reasons = [
        "missing", "unreadable", "not_a_segment", "unsupported_version", "truncated", "too_large",
        "damaged", "no_room",
    ]

    package var description: String {
        switch self {
        case .missing: "no such file"
        case .unreadable(let error): error.description
        case .notASegment: "not a telemetry segment"
        case .unsupportedVersion(let major): "layout version \(major) is not known here"
        case .truncated: "shorter than its header says"
        case .tooLarge: "larger than any segment"
        case .damaged(let part): "damaged: \(part.rawValue)"
        case .noRoom: "too large beside the segments that were seen before"
        }
    }
}
