import Glibc
import Posix
import StreamVaultTelemetry

/// A recorder that has, or had, a segment in the telemetry directory, and what is known of it.
struct KnownRecorder {
    let name: String
    /// Its place in the order in which recorders were first seen.
    let arrival: UInt64
    var reader: SegmentReader
    /// What was last read; it stays when a later read fails.
    var snapshot: Snapshot?
    /// Why the last read failed; `nil` when it did not.
    var failure: SegmentError?
    /// Since when its file is gone.
    fileprivate var missingSince: BootTime?
    /// Before this it is not read again, because there was no memory for it.
    fileprivate var retryAt: BootTime?
    /// Bytes that the snapshot and its part of the pages take, about.
    fileprivate var cost = 0
    /// Whether its last read took long, as that of a large segment does whose records have changed.
    fileprivate var isSlow = true
    /// Whether it was passed over when its file may have been replaced.
    fileprivate var mayHaveNewFile = false
    /// Whether the log says that it cannot be read.
    fileprivate var isReported = false

    init(name: String, arrival: UInt64, reader: SegmentReader, snapshot: Snapshot? = nil) {
        (self.name, self.arrival) = (name, arrival)
        (self.reader, self.snapshot) = (reader, snapshot)
    }

    /// Whether it was read at least once.
    var wasRead: Bool { snapshot != nil }
}

/// The recorders of a telemetry directory, read again at every look.
///
/// A recorder that was seen is kept when its file or the directory is gone: that the exporter cannot see it is no evidence
/// that it has ended. What a stranger can put into the directory is bounded by `Bounds`; recorders that were seen first go on
/// being served.
struct RecorderDirectory {
    /// How much of a directory is read; what lies beyond is counted, logged and shown on the page.
    struct Bounds {
        var recorders = 128
        /// Names in the directory of which recorders are looked for, with those of other files.
        var entries = 4096
        /// Bytes for the snapshots of all recorders and for the pages made of them, about.
        var memory = 32 << 20
        /// For how long a recorder whose file is gone gives way to no other: its publisher may publish again.
        var patience = Duration.seconds(60)
        /// How long a recorder is kept whose file is gone.
        var memoryOfMissing = Duration.seconds(3600)
        /// For the segments, in one look, whose last reads took longer than `slowRead`.
        var slowReads = Duration.milliseconds(50)
        var slowRead = Duration.milliseconds(5)
    }

    private static let retryInterval = Duration.seconds(10)

    let bounds: Bounds
    private var directory: KeptDirectory
    private let log: Log?
    private var warnings = WarningInterval()
    private let bootID = BootID.current()
    private var recorders: [KnownRecorder] = []
    private var arrivals: UInt64 = 0
    private var listed: Listing?
    /// Where the slow reads of the next look begin, so that in the end each has its turn.
    private var nextSlow = 0
    /// Why the entries could not be listed at the last look: there may be recorders that are not known.
    private(set) var listingFailure: SystemError?
    /// Segments in the directory that are not read because there are too many.
    private(set) var excess = 0
    /// Whether a recorder has ever been read, also one that is forgotten by now.
    private(set) var hasSeenRecorder = false
    /// Failed reads since the start, by reason: one of `reasons`.
    private(set) var readErrors: [String: UInt64] = [:]

    static let tooMany = "too_many"
    static let reasons = SegmentError.reasons + [tooMany]

    /// The directory's state when its entries were listed.
    private struct Listing {
        let modified: WallTime
        /// Timestamps are coarse: a change in the same tick would not show.
        let isSettled: Bool
    }

    /// - Parameters:
    ///   - path: may be missing as long as nothing has published yet.
    ///   - bounds: of what is read.
    ///   - log: told when a segment becomes unreadable, again every ten minutes, and when it is readable again.
    init(path: String, bounds: Bounds = Bounds(), log: Log? = nil) {
        directory = KeptDirectory(path: path)
        (self.bounds, self.log) = (bounds, log)
    }

    /// Reads every segment.
    mutating func look(at now: BootTime = .now()) -> [KnownRecorder] {
        let isUnchanged = list(at: now)
        if excess > 0 { readErrors[Self.tooMany, default: 0] += UInt64(excess) }
        readAll(isSameFile: isUnchanged, since: now)
        forgetMissing(at: now)
        return recorders
    }

    /// Recorders that publish themselves, were running when they were last seen, and may publish again.
    ///
    /// No other process may take such a name from them, although their files may be gone at the moment.
    func namesInUse(at now: BootTime) -> Set<String> {
        let inUse = recorders.indices.filter { index in
            guard let snapshot = recorders[index].snapshot else { return false }
            return snapshot.isOwned && !snapshot.contents.identity.isRelayed
                && !givesWay(index, at: now)
        }
        return Set(inUse.map { recorders[$0].name })
    }
}

// MARK: - Reading

extension RecorderDirectory {
    /// Reads all that are read quickly, and of the others as many as there is time for: they cannot hold up a scrape.
    ///
    /// One that is not read keeps what is known of it, until one of the next looks.
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
        var (isFirst, isOver) = (true, false)  // One at least: a look that reads none never would.
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

    /// `last` is when the read before it ended.
    private mutating func read(
        _ index: Int,
        isSameFile: Bool,
        at now: BootTime,
        _ last: inout BootTime
    ) {
        read(index, isSameFile: isSameFile && !recorders[index].mayHaveNewFile, at: now)
        recorders[index].mayHaveNewFile = false
        // A snapshot knows when it was taken, which saves a look at the clock.
        let taken = recorders[index].failure == nil ? recorders[index].snapshot?.takenAt : nil
        let end = taken ?? BootTime.now()
        recorders[index].isSlow = end.since(last) > bounds.slowRead
        last = end
    }

    private mutating func read(_ index: Int, isSameFile: Bool, at now: BootTime) {
        // It is still missing as long as the directory has not changed.
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
                throw .damaged(.header)  // A copy under another name would show every series twice.
            }
            try admit(snapshot, of: index, at: now)
            recorders[index].snapshot = snapshot
            hasSeenRecorder = true
            note(nil, of: index, at: now)
        } catch {
            // Keeps no descriptor of a file that is of no use.
            recorders[index].reader = reader(recorders[index].name)
            if error == .noRoom { recorders[index].retryAt = now.advanced(by: Self.retryInterval) }
            note(error, of: index, at: now)
        }
    }

    /// Takes note of the memory that a snapshot takes, if it is of other records than the one before.
    private mutating func admit(
        _ snapshot: Snapshot,
        of index: Int,
        at now: BootTime
    ) throws(SegmentError) {
        guard snapshot.contents !== recorders[index].snapshot?.contents else { return }
        let cost = snapshot.cost
        var room = bounds.memory - recorders.reduce(0) { $0 + $1.cost } + recorders[index].cost
        // What is known of recorders whose files have been gone for a while gives way.
        for other in recorders.indices
        where cost > room && other != index && givesWay(other, at: now) {
            room += recorders[other].cost
            (recorders[other].snapshot, recorders[other].cost) = (nil, 0)
        }
        guard cost <= room else { throw .noRoom }
        recorders[index].cost = cost
    }

    private func givesWay(_ index: Int, at now: BootTime) -> Bool {
        guard recorders[index].failure == .missing, let since = recorders[index].missingSince else {
            return false
        }
        return now.since(since) >= bounds.patience
    }

    private mutating func note(_ failure: SegmentError?, of index: Int, at now: BootTime) {
        if failure == .missing, recorders[index].failure != .missing {
            recorders[index].missingSince = now
            listed = nil  // The directory has changed since it was listed.
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
}

// MARK: - Listing

extension RecorderDirectory {
    /// Brings the list of recorders up to date; `true` when every name is known to name what it named at the last look.
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
            listingFailure = nil
            add(entries.names.compactMap(Identity.name(ofFile:)), at: now)
            if !entries.isComplete { excess += 1 }
            warnOfExcess(at: now)
        } catch {
            listed = nil
            // A directory that is missing has no recorders but those that were there before.
            if error.code == ENOENT { (listingFailure, excess) = (nil, 0) } else { note(error) }
        }
        return false
    }

    /// Adds the recorders that are new; those that were seen first keep their places.
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

    /// Gives up a recorder whose file has been gone for a while or, for one that can be read, a file that could never be read.
    private mutating func makeRoom(
        for name: String,
        at now: BootTime,
        _ attempts: inout Int
    ) -> Bool {
        let missing = recorders.indices.filter { givesWay($0, at: now) }
        if let oldest = missing.min(by: { recorders[$0].arrival < recorders[$1].arrival }) {
            recorders.remove(at: oldest)
            return true
        }
        let useless = recorders.indices.last {
            !recorders[$0].wasRead && recorders[$0].failure != nil
        }
        guard let useless, attempts > 0 else { return false }
        attempts -= 1
        var candidate = reader(name)
        guard (try? candidate.snapshot()) != nil else { return false }
        recorders.remove(at: useless)
        excess += 1
        return true
    }

    private mutating func forgetMissing(at now: BootTime) {
        let count = recorders.count
        recorders.removeAll {
            guard $0.failure == .missing, let since = $0.missingSince else { return false }
            return now.since(since) >= bounds.memoryOfMissing
        }
        if recorders.count != count { listed = nil }
    }

    private mutating func warnOfExcess(at now: BootTime) {
        // A name that no recorder can have.
        guard excess > 0, warnings.allows("", at: now) else { return }
        log?(
            .warn,
            "Too many telemetry segments",
            ["not_read": "\(excess)", "max": "\(bounds.recorders)"]
        )
    }

    private mutating func note(_ failure: SystemError) {
        defer { listingFailure = failure }
        readErrors[SegmentError.unreadable(failure).reason, default: 0] += 1
        guard failure != listingFailure else { return }
        log?(.warn, "Telemetry directory not readable", ["error": "\(failure)"])
    }
}

extension Snapshot {
    /// Bytes that it and its part of the pages take: an estimate that grows with everything that a segment decides on.
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
