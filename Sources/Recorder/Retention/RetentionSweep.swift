import Media
import Posix
import StreamVaultTelemetry

/// Removes recordings by the rules, again and again.
struct RetentionSweep: Sendable {
    let context: RecordingContext
    let plan: RetentionPlan
    var pause = Duration.seconds(60)
    private let limiter = LogLimiter()

    /// Sweeps until `stop` is requested, which is heeded before each file.
    func run(until stop: StopSignal) {
        var memory = Memory()
        repeat {
            do throws(CatalogueError) {
                try sweep(until: stop, &memory)
            } catch {
                context.log(
                    .warn,
                    "Retention has to wait",
                    ["error": "\(error)"],
                    limitedBy: limiter,
                    condition: "\(error)"
                )
            }
        } while !stop.wait(until: BootTime.now().advanced(by: pause))
    }

    /// What one sweep leaves to the next.
    private struct Memory {
        var clock: SteadyClock?
        /// Why files could not be removed, by their paths.
        var objections: [String: StoredFile.Objection] = [:]
        /// Parts whose removal the journal has, and the catalogue perhaps not yet: its disk may be full.
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
            resumeWindow: context.continuations.window
        )
        var objections: [String: StoredFile.Objection] = [:]
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
        // Only what this sweep met: what is no longer to be removed is forgotten.
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

    /// Removes the files of a part; whether they are gone.
    ///
    /// The row follows, so that a kill in between leaves a row that the next sweep mends.
    private func remove(
        _ part: CataloguePart,
        of recording: CatalogueRecording,
        because reason: RetentionReason,
        _ known: [String: StoredFile.Objection],
        _ objections: inout [String: StoredFile.Objection]
    ) -> Bool {
        for file in part.files(in: context.directory) {
            do throws(StoredFile.Objection) {
                guard try file.remove() else { continue }  // It was gone already.
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
        context.journal.enter(.partDeleted(deletion))
        return true
    }
}

extension SteadyClock {
    /// Begins with the end of the newest recording: the clock may have been set since.
    ///
    /// Without one of this boot, with the end of the newest of earlier boots as if it were now: a clock that is wrong
    /// from the start of a host makes no recording old either, and one that is right is trusted after a day.
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
}
