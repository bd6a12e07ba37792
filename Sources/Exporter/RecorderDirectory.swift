import Glibc
import Posix
import StreamVaultTelemetry

/// A recorder that has, or had, a segment in the telemetry directory.
struct KnownRecorder {
    let name: String
    /// Its position in the order in which recorders were first seen.
    let arrival: UInt64
    var reader: SegmentReader
    /// The last successful read.
    var snapshot: Snapshot?
    /// Why the last read failed; `nil` when it succeeded.
    var failure: SegmentError?
    /// When its file was found missing.
    fileprivate var missingSince: BootTime?
    /// The time of the next read, after one for which there was no memory.
    fileprivate var retryAt: BootTime?
    /// Approximate memory of the snapshot and its part of the pages, in bytes.
    fileprivate var cost = 0
    /// Whether its last read took long, like that of a large segment with changed records.
    fileprivate var isSlow = true
    /// Whether it was skipped when its file may have been replaced.
    fileprivate var mayHaveNewFile = false
    /// Whether the log reports that it cannot be read.
    fileprivate var isReported = false

    init(name: String, arrival: UInt64, reader: SegmentReader, snapshot: Snapshot? = nil) {
        (self.name, self.arrival) = (name, arrival)
        (self.reader, self.snapshot) = (reader, snapshot)
    }

    /// Whether it was read at least once.
    var wasRead: Bool { snapshot != nil }
}

/// The recorders of a telemetry directory.
///
/// A recorder that has been read is kept when its file or the directory disappears, because that does not mean that it has
/// ended. The directory is untrusted input, so `Bounds` limits what is read of it; recorders seen first are kept.
struct RecorderDirectory {
    /// Limits of what is read; whatever exceeds them is counted, logged and shown on the page.
    struct Bounds {
        var recorders = 128
        /// Names in the directory, including those of other files.
        var entries = 4096
        /// Approximate memory for the snapshots of all recorders and their pages, in bytes.
        var memory = 32 << 20
        /// How long a recorder with a missing file is not replaced by another, because it may publish again.
        var republishTimeout = Duration.seconds(60)
        /// How long a recorder with a missing file is kept.
        var missingTimeout = Duration.seconds(3600)
        /// Time in one read of the directory for the segments whose last reads took longer than `slowRead`.
        var slowReads = Duration.milliseconds(50)
        var slowRead = Duration.milliseconds(5)
    }

    private static let retryInterval = Duration.seconds(10)

    let bounds: Bounds
    private var directory: OpenDirectory
    private let log: Log?
    private var warnings = WarningInterval()
    private let bootID = BootID.current()
    private var recorders: [KnownRecorder] = []
    private var arrivals: UInt64 = 0
    private var listed: Listing?
    /// The first recorder of the next slow reads, so that each has its turn.
    private var nextSlow = 0
    /// Why the entries could not be listed at the last read: there may be unknown recorders.
    private(set) var listingError: SystemError?
    /// Segments that are not read because there are too many.
    private(set) var excess = 0
    /// Whether a recorder has ever been read, even one that is forgotten since.
    private(set) var hasSeenRecorder = false
    /// Whether the last read found other recorders, or other declarations, than the previous one.
    private(set) var hasNewDeclarations = false
    private var declared: [(name: String, contents: SegmentContents?)] = []
    /// Failed reads since the start, by reason: one of `reasons`.
    private(set) var readErrors: [String: UInt64] = [:]

    static let tooMany = "too_many"
    static let reasons = SegmentError.reasons + [tooMany]

    /// The state of the directory when its entries were listed.
    private struct Listing {
        let modified: WallTime
        /// Time stamps are coarse: another change within the same clock tick would not be visible.
        let isSettled: Bool
    }

    /// The directory may not exist before the first recorder publishes.
    ///
    /// The log receives a line when a segment becomes unreadable, again every ten minutes, and when it is readable again.
    init(path: String, bounds: Bounds = Bounds(), log: Log? = nil) {
        directory = OpenDirectory(path: path)
        (self.bounds, self.log) = (bounds, log)
    }

    /// Reads all segments.
    mutating func read(at now: BootTime = .now()) -> [KnownRecorder] {
        let isUnchanged = list(at: now)
        if excess > 0 { readErrors[Self.tooMany, default: 0] += UInt64(excess) }
        readAll(isSameFile: isUnchanged, since: now)
        forgetMissing(at: now)
        compareDeclarations()
        return recorders
    }

    private mutating func compareDeclarations() {
        hasNewDeclarations =
            recorders.count != declared.count
            || recorders.indices.contains {
                recorders[$0].snapshot?.contents !== declared[$0].contents
                    || recorders[$0].name != declared[$0].name
            }
        if hasNewDeclarations { declared = recorders.map { ($0.name, $0.snapshot?.contents) } }
    }

    /// The names of recorders that publish themselves, were running when they were last read, and may publish again.
    ///
    /// No other process may take such a name, even while its file is missing.
    func namesInUse(at now: BootTime) -> Set<String> {
        let inUse = recorders.indices.filter { index in
            guard let snapshot = recorders[index].snapshot else { return false }
            return snapshot.isOwned && !snapshot.contents.identity.isRelayed
                && !isReplaceable(index, at: now)
        }
        return Set(inUse.map { recorders[$0].name })
    }

    // MARK: Reading

    /// Reads all segments that are fast to read, and as many slow ones as there is time for: they cannot delay a scrape.
    ///
    /// A recorder that is skipped keeps its last snapshot until one of the next reads.
    private mutating func readAll(isSameFile: Bool, since now: BootTime) {
        var last = now
        var slow: [Int] = []
        for index in recorders.indices {
            if recorders[index].isSlow {
                slow.append(index)
            } else {
                read(index, isSameFile: isSameFile, at: now, &last)
            }
        }
        guard !slow.isEmpty else { return }
        let end = BootTime.now().advanced(by: bounds.slowReads)
        let first = slow.firstIndex { $0 >= nextSlow } ?? 0
        var (isFirst, isOver) = (true, false)  // At least one is read, or it might never be.
        for index in slow[first...] + slow[..<first] {
            last = BootTime.now()
            if !isOver, !isFirst, last >= end { (isOver, nextSlow) = (true, index) }
            isFirst = false
            if isOver {
                recorders[index].mayHaveNewFile = !isSameFile || recorders[index].mayHaveNewFile
            } else {
                read(index, isSameFile: isSameFile, at: now, &last)
            }
        }
    }

    /// `last` is the end of the previous read.
    private mutating func read(
        _ index: Int,
        isSameFile: Bool,
        at now: BootTime,
        _ last: inout BootTime
    ) {
        read(index, isSameFile: isSameFile && !recorders[index].mayHaveNewFile, at: now)
        recorders[index].mayHaveNewFile = false
        // The time in the snapshot saves a call of the clock.
        let taken = recorders[index].failure == nil ? recorders[index].snapshot?.takenAt : nil
        let end = taken ?? BootTime.now()
        recorders[index].isSlow = end.since(last) > bounds.slowRead
        last = end
    }

    private mutating func read(_ index: Int, isSameFile: Bool, at now: BootTime) {
        // It is still missing if the directory has not changed.
        if isSameFile, recorders[index].failure == .missing {
            return note(.missing, of: index, at: now)
        }
        if let retryAt = recorders[index].retryAt, now < retryAt {
            return note(.noRoom, of: index, at: now)
        }
        do throws(SegmentError) {
            let snapshot = try recorders[index].reader.snapshot(
                isSameFile: isSameFile,
                after: recorders[index].snapshot
            )
            guard snapshot.contents.identity.name == recorders[index].name else {
                throw .damaged(.header)  // A copy under another name would duplicate all series.
            }
            try admit(snapshot, of: index, at: now)
            recorders[index].snapshot = snapshot
            hasSeenRecorder = true
            note(nil, of: index, at: now)
        } catch {
            // Closes the file.
            recorders[index].reader = reader(recorders[index].name)
            if error == .noRoom { recorders[index].retryAt = now.advanced(by: Self.retryInterval) }
            note(error, of: index, at: now)
        }
    }

    /// Reserves the memory of a snapshot whose records differ from those of the previous one.
    private mutating func admit(
        _ snapshot: Snapshot,
        of index: Int,
        at now: BootTime
    ) throws(SegmentError) {
        guard snapshot.contents !== recorders[index].snapshot?.contents else { return }
        let cost = snapshot.cost
        var room = bounds.memory - recorders.reduce(0) { $0 + $1.cost } + recorders[index].cost
        // Snapshots of recorders whose files have been missing for a while are dropped first.
        for other in recorders.indices
        where cost > room && other != index && isReplaceable(other, at: now) {
            room += recorders[other].cost
            (recorders[other].snapshot, recorders[other].cost) = (nil, 0)
        }
        guard cost <= room else { throw .noRoom }
        recorders[index].cost = cost
    }

    private func isReplaceable(_ index: Int, at now: BootTime) -> Bool {
        guard recorders[index].failure == .missing, let since = recorders[index].missingSince else {
            return false
        }
        return now.since(since) >= bounds.republishTimeout
    }

    private mutating func note(_ failure: SegmentError?, of index: Int, at now: BootTime) {
        if failure == .missing, recorders[index].failure != .missing {
            recorders[index].missingSince = now
            listed = nil  // The directory has changed since then.
        }
        recorders[index].failure = failure
        if failure != .noRoom { recorders[index].retryAt = nil }
        let name = recorders[index].name
        guard let failure else {
            if recorders[index].isReported {
                log?(.info, "Telemetry readable again", ["recorder": name])
            }
            recorders[index].isReported = false
            return
        }
        readErrors[failure.reason, default: 0] += 1
        if warnings.allows(name, at: now) {
            recorders[index].isReported = true
            log?(.warn, "Telemetry not readable", ["recorder": name, "error": "\(failure)"])
        }
    }

    private func reader(_ name: String) -> SegmentReader {
        SegmentReader(path: "\(directory.path)/\(name).telemetry", bootID: bootID)
    }

    // MARK: Listing

    /// Updates the list of recorders; `true` when all names still refer to the same files.
    private mutating func list(at now: BootTime) -> Bool {
        do throws(SystemError) {
            let modified = try directory.status(at: now).modifiedAt
            if let listed, listed.isSettled, listed.modified == modified { return true }
            let path = directory.path
            let entries = try FileSystem.entries(of: path, atMost: bounds.entries)
            listed = Listing(
                modified: modified,
                isSettled: WallTime.now().nanoseconds > modified.nanoseconds + 100_000_000
            )
            listingError = nil
            add(entries.names.compactMap(RunIdentity.name(ofFile:)), at: now)
            if !entries.isComplete { excess += 1 }
            warnOfExcess(at: now)
        } catch {
            listed = nil
            // A missing directory contains no further recorders.
            if error.code == ENOENT { (listingError, excess) = (nil, 0) } else { note(error) }
        }
        return false
    }

    /// Adds new recorders; those that were seen first are kept.
    private mutating func add(_ names: [String], at now: BootTime) {
        let known = Set(recorders.map(\.name))
        var attempts = bounds.recorders
        excess = 0
        for name in names where !known.contains(name) {
            guard recorders.count < bounds.recorders || makeRoom(for: name, at: now, &attempts)
            else {
                excess += 1
                continue
            }
            arrivals += 1
            recorders.append(KnownRecorder(name: name, arrival: arrivals, reader: reader(name)))
        }
        recorders.sort { $0.name < $1.name }
    }

    /// Removes a recorder whose file has been missing for a while, or else, for a readable one, one that could never be read.
    private mutating func makeRoom(
        for name: String,
        at now: BootTime,
        _ attempts: inout Int
    ) -> Bool {
        let missing = recorders.indices.filter { isReplaceable($0, at: now) }
        if let oldest = missing.min(by: { recorders[$0].arrival < recorders[$1].arrival }) {
            recorders.remove(at: oldest)
            return true
        }
        let neverRead = recorders.indices.last {
            !recorders[$0].wasRead && recorders[$0].failure != nil
        }
        guard let neverRead, attempts > 0 else { return false }
        attempts -= 1
        var candidate = reader(name)
        guard (try? candidate.snapshot()) != nil else { return false }
        recorders.remove(at: neverRead)
        excess += 1
        return true
    }

    private mutating func forgetMissing(at now: BootTime) {
        let count = recorders.count
        recorders.removeAll {
            guard $0.failure == .missing, let since = $0.missingSince else { return false }
            return now.since(since) >= bounds.missingTimeout
        }
        if recorders.count != count { listed = nil }
    }

    private mutating func warnOfExcess(at now: BootTime) {
        // No recorder can have the empty name.
        guard excess > 0, warnings.allows("", at: now) else { return }
        log?(
            .warn,
            "Too many telemetry segments",
            ["not_read": "\(excess)", "max": "\(bounds.recorders)"]
        )
    }

    private mutating func note(_ failure: SystemError) {
        defer { listingError = failure }
        readErrors[SegmentError.unreadable(failure).reason, default: 0] += 1
        guard failure != listingError else { return }
        log?(.warn, "Telemetry directory not readable", ["error": "\(failure)"])
    }
}

extension Snapshot {
    /// Approximate memory of it and its part of the pages, in bytes, from all that a segment can make large.
    var cost: Int {
        let lines = contents.series.reduce(0) { sum, series in
            let family = contents.families[series.family]
            let labels = zip(family.labels, series.values).reduce(0) {
                $0 + $1.0.utf8.count + $1.1.utf8.count
            }
            let samples = family.buckets.map { $0.bounds.count + 3 } ?? 1
            return sum + samples * (64 + family.name.utf8.count + labels)
        }
        let records = contents.families.count + contents.recordings.count + contents.history.count
        return words.count * 8 + records * 1024 + lines * 2
    }
}

/// A directory that is kept open, so that its state takes one system call, `fstat(2)`, and no lookup of a path.
private struct OpenDirectory {
    /// How long it is not noticed that another directory has the path; a removal is noticed at once.
    private static let validity = Duration.seconds(1)

    let path: String
    private var opened: Opened?

    private final class Opened {
        let file: FileDescriptor
        let since: BootTime

        init(_ path: String, at now: BootTime) throws(SystemError) {
            file = try FileDescriptor(opening: path, O_RDONLY | O_DIRECTORY)
            since = now
        }
    }

    init(path: String) {
        self.path = path
    }

    mutating func status(at now: BootTime) throws(SystemError) -> stat {
        if let opened, now.since(opened.since) < Self.validity {
            let status = try opened.file.status()
            if status.st_nlink > 0 { return status }
        }
        opened = nil
        let opened = try Opened(path, at: now)
        self.opened = opened
        return try opened.file.status()
    }
}

/// Limits the warnings about names from untrusted input: one for each name, again after ten minutes, and few names.
struct WarningInterval {
    private static let interval = Duration.seconds(600)
    private static let maxNames = 64

    private var lastLogged: [String: BootTime] = [:]

    /// Whether a warning about `name` is to be logged now; it then counts as logged.
    mutating func allows(_ name: String, at now: BootTime) -> Bool {
        if let last = lastLogged[name], now.since(last) < Self.interval { return false }
        lastLogged = lastLogged.filter { now.since($0.value) < Self.interval }
        guard lastLogged.count < Self.maxNames else { return false }
        lastLogged[name] = now
        return true
    }
}
