import Glibc
package import Posix
import Synchronization

/// Reads the segment at a path repeatedly; while no record changes, only the words are read.
///
/// It does not map the file: a file that is truncated cannot crash the reader.
package struct SegmentReader {
    /// How often a file without an owner may be replaced by another one during one call.
    private static let maxReplacements = 8

    package let path: String
    private let bootID: BootID
    private var segment: OpenSegment?
    private var heartbeats = HeartbeatObserver()
    /// Set when the run has published in another file.
    private var minimum: CounterMinimum?

    package init(path: String, bootID: BootID = .current()) {
        (self.path, self.bootID) = (path, bootID)
    }

    /// Takes a snapshot of the file that is now at the path.
    ///
    /// - Parameters:
    ///   - isSameFile: whether the caller knows that the path still leads to the file of the last snapshot. Looking up a path
    ///     costs as much as reading the file.
    ///   - previous: the last snapshot from this path. If the same run has published in another file since, no counter is
    ///     lower than in this snapshot.
    /// - Returns: the snapshot, with the verdict at the time of the read.
    /// - Throws: `.missing` also if a file without an owner was removed while it was read.
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
        // The file was truncated during the read: its end, which may have grown again, is zero.
        if let previous, previous.contents === reading.contents,
            previous.hasHigherCount(than: reading.words)
        {
            throw .truncated
        }
        let now = BootTime.now()
        heartbeats.note(reading.heartbeat, of: reading.contents.identity, at: now)
        // The snapshot changes the words: a second owner would cost a copy.
        var words: [UInt64] = []
        swap(&words, &reading.words)
        return Snapshot(
            reading.contents,
            words: consume words,
            isOwned: reading.isOwned,
            now: now,
            wall: .now(),
            bootID: bootID,
            unchangedFor: heartbeats.unchangedFor,
            hasOtherClock: heartbeats.areOfOtherClock
        )
    }

    /// Checks that a file without an owner is the file of its recorder, and reads that file otherwise.
    ///
    /// Since the path was looked up, the recorder may have published in another file and released this one. And another
    /// process may have moved or copied a file over that of a running recorder; then `former` is the recorder's file.
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

    /// What one read of a file returned.
    private struct Reading {
        /// Whether a process held the lock before the rest was read; if not, the rest is the final state of the run.
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

    /// The open file; opens another one if the path leads to it now.
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

/// An open segment file, and the records that were last read from it.
private final class OpenSegment {
    /// Number of reads of the complete file before an error, and before records are accepted that changed meanwhile.
    private static let (attempts, settledAttempts) = (8, 3)

    let file: FileDescriptor
    private let device: dev_t
    private let inode: ino_t
    /// It does not change once the file has its name.
    private var header: SegmentHeader?
    /// Publishers of version 0.1.0 wrote none.
    private var hadEndMark = false
    /// The records or their error, and the count of changes for which these are valid.
    private var known: (changes: UInt64, records: Result<SegmentContents, SegmentError>)?

    init(_ file: consuming FileDescriptor) throws(SystemError) {
        let status = try file.status()
        (device, inode) = (status.st_dev, status.st_ino)
        self.file = file
    }

    func isFile(_ status: stat) -> Bool {
        status.st_dev == device && status.st_ino == inode
    }

    /// The records, and the words that they refer to, followed by room for those that a snapshot adds.
    func read() throws(SegmentError) -> (SegmentContents, [UInt64]) {
        if let header, let known {
            let words = try words(header, for: known.records)
            if words[SegmentWord.change] == known.changes {
                return (try known.records.get(), words)
            }
        }
        return try readWhole(try currentHeader())
    }

    /// Reads the complete file until no record changes during the read, a limited number of times.
    ///
    /// An error is permanent if the count of changes did not change: at most one copy of one record was being written then.
    /// If a writer changes records all the time, they are accepted as soon as each record is valid by itself.
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
            try confirmEnd(header)
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

    /// Reads the records, which may be invalid.
    private func records(
        _ header: SegmentHeader
    ) throws(SegmentError) -> Result<SegmentContents, SegmentError> {
        let bytes = try bytes(header.layout.fileSize)
        guard bytes.count == header.layout.fileSize else { throw .truncated }
        guard try SegmentHeader(bytes) == header else { throw .damaged(.header) }
        return Result { () throws(SegmentError) in
            SegmentContents(try SegmentRecords(bytes, header))
        }
    }

    /// Checks, after everything else was read, that the file was not truncated meanwhile: even if it has grown again, its end is
    /// zero.
    private func confirmEnd(_ header: SegmentHeader) throws(SegmentError) {
        guard let word = header.layout.endMarkWord else { return }
        let end = try SegmentError.wrapping { () throws(SystemError) in
            try file.words(at: word * 8, count: 1, room: 0)
        }
        let hasMark = end == [SegmentLayout.endMark]
        guard hasMark || end != nil && !hadEndMark else { throw .truncated }
        hadEndMark = hasMark
    }

    /// The header; the file is as long as the header says.
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

/// Measures with the reader's clock how long a heartbeat has not changed.
private struct HeartbeatObserver {
    private var heartbeat: BootTime?
    /// When this heartbeat was first and last seen.
    private var (since, last) = (BootTime(nanoseconds: 0), BootTime(nanoseconds: 0))
    private(set) var unchangedFor = Duration.zero
    /// Whether the recorder's `CLOCK_BOOTTIME` differs from the reader's although both have the same boot id.
    ///
    /// Containers can have different clocks in time namespaces. Then a heartbeat is later than the present, or a new one is
    /// much older than the last read, in which it was not there yet.
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

/// The values of counters and histograms of a run before the run published in another file.
///
/// When a file is truncated, what was counted in the last second is lost (see `PublishedSegment`). To Prometheus, a counter
/// that decreases has restarted from zero. Therefore each keeps its former value until its count is higher again.
private struct CounterMinimum {
    private var series: [SeriesName: [UInt64]] = [:]
    private let runID: [UInt8]
    /// Word indexes of those that are still lower; valid for these records only.
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

    /// Calls `body` for all series except derived ones, of which nothing is lost.
    private static func forEachSeries(
        of contents: SegmentContents,
        _ body: (SeriesName, Range<Int>) -> Void
    ) {
        for one in contents.series {
            let family = contents.families[one.family]
            guard family.isCounted else { continue }
            let name = SeriesName(family: family.name, values: one.values.map(ExactText.init))
            body(name, one.word..<one.word + family.wordsPerSeries)
        }
    }
}

extension FileDescriptor {
    /// `count` little-endian words from `offset`, followed by `room` zeros; `nil` if the file ends before.
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

/// Why a segment cannot be read.
package enum SegmentError: Error, Equatable, CustomStringConvertible {
    /// A part of a segment with a wrong checksum or invalid content.
    package enum Part: String, Sendable {
        case header, lifecycle, families, series, recordings, history
    }

    /// There is no file.
    case missing
    /// The file could not be opened or read.
    case unreadable(SystemError)
    /// The file does not begin like a segment.
    case notASegment
    /// The layout has another major version.
    case unsupportedVersion(Int)
    /// The file is shorter than its header says.
    case truncated
    /// The file exceeds the limits of a segment.
    case tooLarge
    case damaged(Part)
    /// The reader's memory limit does not allow it.
    case noRoom

    /// Runs a system call on the file.
    static func wrapping<T>(_ call: () throws(SystemError) -> T) throws(SegmentError) -> T {
        do throws(SystemError) {
            return try call()
        } catch {
            throw .unreadable(error)
        }
    }

    /// A label value, one of `reasons`.
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
        case .unsupportedVersion(let major): "unsupported layout version \(major)"
        case .truncated: "file is shorter than its header says"
        case .tooLarge: "file exceeds the limits of a segment"
        case .damaged(let part): "damaged: \(part.rawValue)"
        case .noRoom: "no memory left besides other segments"
        }
    }
}
