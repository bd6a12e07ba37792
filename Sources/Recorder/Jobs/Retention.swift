import Catalogue
import Media
import Posix
import StreamVaultTelemetry

/// When recordings that have ended are deleted; a rule that is `nil` deletes none.
struct RetentionRules: Equatable, Sendable {
    /// Since the end.
    var maxAge: Duration?
    var maxCount: Int?
    var maxBytes: UInt64?

    var isEmpty: Bool { self == RetentionRules() }

    /// The recordings that exceed a rule, by their ids.
    ///
    /// Count and size never select the newest recording: a rule that is too small must not delete what was just recorded.
    fileprivate func expired(
        of newestFirst: [CatalogueRecording],
        _ ages: RecordingAges
    ) -> [Int64: RetentionReason] {
        var reasons: [Int64: RetentionReason] = [:]
        var bytes: UInt64 = 0
        for (index, recording) in newestFirst.enumerated() {
            bytes = bytes.addingWithSaturation(UInt64(clamping: recording.storedBytes))
            if let maxAge, let age = ages[recording], age > maxAge {
                reasons[recording.id] = .age
            } else if let maxCount, index >= max(1, maxCount) {
                reasons[recording.id] = .count
            } else if let maxBytes, index > 0, bytes > maxBytes {
                reasons[recording.id] = .size
            }
        }
        return reasons
    }
}

/// The rules for all recordings, and those of single streams.
struct RetentionPlan: Equatable, Sendable {
    /// For all recordings together.
    var overall = RetentionRules()
    /// For the recordings of each stream.
    var byStream: [String: RetentionRules] = [:]

    var isEmpty: Bool { overall.isEmpty && byStream.values.allSatisfy(\.isEmpty) }

    /// The recordings to delete, the oldest first.
    ///
    /// Those that must not be deleted are counted, too. The last recording of a stream may be continued for `resumeWindow`.
    func expired(
        of recordings: [CatalogueRecording],
        aged ages: RecordingAges,
        resumeWindow: Duration
    ) -> [(recording: CatalogueRecording, reason: RetentionReason)] {
        let newestFirst = recordings.filter(\.hasFile).sorted { $0.id > $1.id }
        var streams: Set<String> = []
        var removable: Set<Int64> = []
        for recording in newestFirst {
            let isLast = streams.insert(recording.stream).inserted
            let mayContinue = isLast && ages[recording].map { $0 <= resumeWindow } ?? true
            if recording.isRemovable(mayContinue: mayContinue) { removable.insert(recording.id) }
        }
        var reasons: [Int64: RetentionReason] = [:]
        for (stream, rules) in byStream {
            let expired = rules.expired(of: newestFirst.filter { $0.stream == stream }, ages)
            reasons.merge(expired) { first, _ in first }
        }
        // What a stream's own rules delete is not counted by the others.
        let rest = newestFirst.filter { reasons[$0.id] == nil || !removable.contains($0.id) }
        reasons.merge(overall.expired(of: rest, ages)) { first, _ in first }
        return newestFirst.reversed().compactMap { recording in
            guard removable.contains(recording.id), let reason = reasons[recording.id] else {
                return nil
            }
            return (recording, reason)
        }
    }
}

extension CatalogueRecording {
    fileprivate var hasFile: Bool { parts.contains { $0.status != .deleted } }

    /// Whether it has ended, and each of its files is finished, or will never be.
    fileprivate func isRemovable(mayContinue: Bool) -> Bool {
        let hasEnded =
            switch status {
            case .recording, .abandoned: false
            case .completed: true
            case .interrupted, .failed: endedAt != nil && !mayContinue
            }
        return hasEnded && !parts.contains { $0.status == .recording || $0.isLeftForRecovery }
    }
}

extension CataloguePart {
    fileprivate var isLeftForRecovery: Bool { status == .failed && path.hasSuffix(".part") }
}

/// How long ago recordings ended, independent of steps of the clock.
///
/// The age of a recording of this boot follows from the boot's clock. For the others, the time of the calendar counts if it is
/// plausible: not before this recorder existed, not in the future, and not before an earlier recording began; they are ordered by their
/// ids, which only grow. A recording without a plausible time counts as ended when the next one with a plausible time began: it
/// is rather kept too long than too short.
struct RecordingAges: Sendable {
    private var ages: [Int64: Duration] = [:]

    /// The ages of all recordings, given in any order.
    ///
    /// `now` is the time of the calendar, as far as it can be trusted; with `nil` only ages of this boot are known.
    init(of recordings: [CatalogueRecording], at now: UTCTime?, _ boot: BootStamp?) {
        let recordings = recordings.sorted { $0.id < $1.id }
        func plausible(_ time: UTCTime?) -> UTCTime? {
            guard let time, let now, time >= .earliestPlausible, time <= now else { return nil }
            return time
        }
        // No recording began before those with smaller ids.
        var latestStart: UTCTime?
        let starts = recordings.map { recording in
            let start = plausible(recording.startedAt)
            latestStart = [latestStart, start].compactMap(\.self).max()
            return (latest: latestStart, isKnown: start != nil)
        }
        var nextStart = now
        for (recording, start) in zip(recordings, starts).reversed() {
            defer { if start.isKnown { nextStart = start.latest } }
            guard let endedAt = recording.endedAt else { continue }
            if let endedBoot = recording.endedBoot, let age = boot?.since(endedBoot) {
                ages[recording.id] = age
                continue
            }
            let end = plausible(endedAt).map { max($0, start.latest ?? $0) } ?? nextStart
            guard let now, let end else { continue }
            ages[recording.id] = .seconds(max(0, now.seconds - end.seconds))
        }
    }

    /// `nil` when it is not known, or the recording has not ended.
    subscript(recording: CatalogueRecording) -> Duration? { ages[recording.id] }
}

/// The calendar's clock, as far as retention trusts it: a step forward makes no recording old.
struct SteadyClock: Sendable {
    private var anchor: (wall: UTCTime, boot: BootTime)?
    /// When the clock was first found to be ahead.
    private var aheadSince: BootTime?

    /// Differences up to this are corrections, not steps.
    private static let tolerance = Duration.seconds(60)
    /// A clock that has been ahead for this long is trusted.
    private static let timeout = Duration.seconds(86_400)

    /// Starts from a time that the calendar showed in this boot, such as the end of a recording.
    init(wall: UTCTime? = nil, at boot: BootTime? = nil) {
        if let wall, let boot, wall >= .earliestPlausible { anchor = (wall, boot) }
    }

    /// Starts from the end of the newest recording: the clock may have been set since.
    ///
    /// If no recording of this boot has ended, the end of the newest one of an earlier boot counts as the present: a clock that is wrong
    /// from the start of the host makes no recording old either, and one that is right is trusted after a day.
    init(lastSeenIn recordings: [CatalogueRecording]) {
        let now = BootStamp.now()
        let plausible = recordings.filter { recording in
            recording.endedAt.map { $0 >= .earliestPlausible } ?? false
        }
        let ofThisBoot = plausible.last { recording in
            recording.endedBoot.flatMap { now?.since($0) } != nil
        }
        if let ofThisBoot {
            self.init(wall: ofThisBoot.endedAt, at: ofThisBoot.endedBoot?.time)
        } else {
            self.init(wall: plausible.compactMap(\.endedAt).max(), at: now?.time)
        }
    }

    /// The time that ages are counted from: the clock's, but no later than an earlier time plus what has passed since.
    ///
    /// `nil` while the clock has never been set.
    mutating func read(_ wall: UTCTime, at boot: BootTime) -> UTCTime? {
        let isPlausible = wall >= .earliestPlausible
        guard let anchor else {
            if isPlausible { self.anchor = (wall, boot) }
            return isPlausible ? wall : nil
        }
        let passed = Int(boot.since(anchor.boot).inSeconds)
        let steady = anchor.wall.seconds.addingWithSaturation(passed)
        guard isPlausible else { return UTCTime(seconds: steady) }
        let ahead = wall.seconds.addingWithSaturation(-steady)
        if ahead > Int(Self.tolerance.inSeconds) {
            let since = aheadSince ?? boot
            aheadSince = since
            guard boot.since(since) >= Self.timeout else { return UTCTime(seconds: steady) }
        }
        aheadSince = nil
        // A clock that was set back may be wrong, too, and set forward again: the later of the two stays the anchor.
        if ahead >= -Int(Self.tolerance.inSeconds) { self.anchor = (wall, boot) }
        return wall
    }

    /// Whether the clock was ahead when it was last read.
    var isAhead: Bool { aheadSince != nil }
}

/// Deletes expired recordings, again and again.
struct RetentionSweep: Sendable {
    let context: RecordingContext
    let plan: RetentionPlan
    var pause = Duration.seconds(60)
    private let limiter = LogLimiter()

    init(context: RecordingContext, plan: RetentionPlan, pause: Duration = .seconds(60)) {
        (self.context, self.plan, self.pause) = (context, plan, pause)
    }

    /// Sweeps until `stop` is requested, which ends it between two files.
    func run(until stop: StopSignal) {
        var memory = Memory()
        repeat {
            do throws(CatalogueError) {
                try sweep(until: stop, &memory)
            } catch {
                context.log(
                    .warn,
                    "Retention delayed: the catalogue cannot be read",
                    ["error": "\(error)"],
                    limitedBy: limiter,
                    condition: "\(error)"
                )
            }
        } while !stop.wait(until: BootTime.now().advanced(by: pause))
    }

    /// What is kept from one sweep to the next.
    private struct Memory {
        var clock: SteadyClock?
        /// Why files could not be deleted, by their paths.
        var objections: [String: StoredFile.RemovalError] = [:]
        /// Parts whose deletion is in the journal, and perhaps not in the catalogue yet: its disk may be full.
        var removed: Set<PartKey> = []
    }

    private struct PartKey: Hashable {
        let recordingID: Int64
        let number: Int

        init(_ part: CataloguePart) { (recordingID, number) = (part.recordingID, part.number) }
    }

    private func sweep(until stop: StopSignal, _ memory: inout Memory) throws(CatalogueError) {
        let recordings = try context.catalogue.stored()
        let now = readClock(recordings, &memory)
        let expired = plan.expired(
            of: recordings,
            aged: RecordingAges(of: recordings, at: now, .now()),
            resumeWindow: context.resumableRecordings.window
        )
        var objections: [String: StoredFile.RemovalError] = [:]
        var removed: Set<PartKey> = []
        for (recording, reason) in expired {
            for part in recording.parts where part.status == .finished {
                guard !stop.isRequested else { return }
                let key = PartKey(part)
                let isGone =
                    memory.removed.contains(key)
                    || remove(part, of: recording, because: reason, memory.objections, &objections)
                if isGone { removed.insert(key) }
            }
        }
        // Only those of this sweep: the others are no longer expired.
        (memory.objections, memory.removed) = (objections, removed)
    }

    private func readClock(
        _ recordings: [CatalogueRecording],
        _ memory: inout Memory
    ) -> UTCTime? {
        let boot = BootTime.now()
        var clock = memory.clock ?? SteadyClock(lastSeenIn: recordings)
        let wasAhead = clock.isAhead
        defer { memory.clock = clock }
        let now = clock.read(UTCTime(.now()), at: boot)
        if clock.isAhead, !wasAhead {
            let fields: KeyValuePairs = ["counted_from": now?.iso8601 ?? "nothing"]
            context.log(
                .warn,
                "Clock was set forward: ages of recordings do not follow for a day",
                fields
            )
        }
        return now
    }

    /// Deletes the files of a part; whether they are gone.
    ///
    /// The row follows: after a kill in between, the next sweep updates it.
    private func remove(
        _ part: CataloguePart,
        of recording: CatalogueRecording,
        because reason: RetentionReason,
        _ known: [String: StoredFile.RemovalError],
        _ objections: inout [String: StoredFile.RemovalError]
    ) -> Bool {
        for file in part.files(in: context.directory) {
            do throws(StoredFile.RemovalError) {
                guard try file.remove() else { continue }  // It did not exist any more.
            } catch {
                objections[file.path] = error
                if known[file.path] != error {
                    let fields: KeyValuePairs = ["path": file.path, "reason": "\(error)"]
                    context.log(.warn, "Recording not deleted", fields)
                }
                return false
            }
            context.metrics.deletedFiles[reason]?.add()
            context.log(
                .info,
                "Recording deleted",
                [
                    "stream": recording.stream, "path": file.path, "bytes": "\(file.bytes)",
                    "reason": reason.rawValue,
                ]
            )
        }
        let deletion = PartDeletion(
            recordingID: recording.id,
            number: part.number,
            reason: reason,
            at: UTCTime(.now())
        )
        context.journal.append(.partDeleted(deletion))
        return true
    }
}
