import Posix
import StreamVaultTelemetry

/// Removes recordings by the rules, again and again.
struct RetentionSweep: Sendable {
    let context: RecordingContext
    let plan: RetentionPlan
    var pause = Duration.seconds(60)

    /// Sweeps until `stop` is requested, which is heeded before each file.
    func run(until stop: StopSignal) {
        var objections: [String: StoredFile.Objection] = [:]
        repeat {
            do throws(CatalogueError) {
                try sweep(until: stop, &objections)
            } catch {
                context.log(.warn, "Retention has to wait", ["error": "\(error)"])
            }
        } while !stop.wait(until: BootTime.now().advanced(by: pause))
    }

    private func sweep(
        until stop: StopSignal,
        _ objections: inout [String: StoredFile.Objection]
    ) throws(CatalogueError) {
        let now = UTCTime(.now())
        let recordings = try context.catalogue.stored()
        let doomed = plan.doomed(
            of: recordings,
            at: now,
            mayGoOnSince: context.continuations.oldest(at: now)
        )
        for (recording, reason) in doomed {
            for part in recording.parts where part.status == .finished {
                guard !stop.isRequested else { return }
                remove(part, of: recording, because: reason, &objections)
            }
        }
    }

    /// Removes the files of a part; the row follows, so that a kill in between leaves a row that the next sweep mends.
    private func remove(
        _ part: CataloguePart,
        of recording: CatalogueRecording,
        because reason: RetentionReason,
        _ objections: inout [String: StoredFile.Objection]
    ) {
        for file in part.files(in: context.directory) {
            do throws(StoredFile.Objection) {
                try file.remove()
            } catch {
                let isNews = objections.updateValue(error, forKey: file.path) != error
                if isNews {
                    let fields: KeyValuePairs = ["path": file.path, "reason": "\(error)"]
                    context.log(.warn, "Recording not deleted", fields)
                }
                return
            }
        }
        let deletion = PartDeletion(
            recordingID: recording.id,
            number: part.number,
            reason: reason,
            at: UTCTime(.now())
        )
        context.journal.enter(.partDeleted(deletion))
        context.metrics.deletedFiles[reason]?.add()
        context.log(
            .info,
            "Recording deleted",
            [
                "stream": recording.stream, "path": part.path, "bytes": "\(part.bytes)",
                "reason": reason.rawValue,
            ]
        )
    }
}
