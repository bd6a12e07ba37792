import Catalogue
import Glibc
import Media
import Posix
import StreamVaultTelemetry
import Synchronization

/// Recovers what earlier runs left: their files, their rows in the catalogue, and the recordings that can be continued.
struct EarlierRuns: Sendable {
    let context: RecordingContext
    let recovery: Recovery

    /// Processes the files, one by one, until `stop` is requested; the next start does the rest.
    func recover(until stop: StopSignal) {
        if let first = recovery.foreign.first {
            let fields: KeyValuePairs = ["count": "\(recovery.foreign.count)", "first": first]
            context.log(.info, "Part files of other programs left unchanged", fields)
        }
        let files = recovery.run(while: { !stop.isRequested }, onOutcome: report)
        if stop.isRequested {
            context.log(.warn, "Recovery interrupted, the next start continues it")
        }
        do throws(CatalogueError) {
            let changed = try context.catalogue.recoverUnfinished(files, in: recovery.directory)
            for part in changed.flatMap(\.parts) where wantsRemux(part) {
                context.journal.append(
                    .remuxRequested(recordingID: part.recordingID, number: part.number)
                )
            }
            try addUnlisted(recovery.finished + files.compactMap(\.publishedName), until: stop)
            for recording in try context.catalogue.resumableRecordings() {
                context.resumableRecordings.add(recording)
            }
        } catch {
            context.log(.error, "Recovery not in the catalogue", ["error": "\(error)"])
        }
    }

    /// Adds finalized recordings that are not in the catalogue, if they are complete and not locked.
    private func addUnlisted(
        _ finished: [RecordingName],
        until stop: StopSignal
    ) throws(CatalogueError) {
        let known = try context.catalogue.listedFileNames()
        let stems = Set(finished.filter { $0.container == .mpegTS }.map(\.stem))
        for name in finished where !stop.isRequested {
            let isOutput = name.container == .fragmentedMP4 && stems.contains(name.stem)
            guard !isOutput, !known.contains(lastPathComponent(name.finalPath)),
                let found = UnlistedRecording(examining: name)
            else { continue }
            do throws(CatalogueError) {
                try context.catalogue.add(found)
                context.log(.info, "Recording added to the catalogue", ["path": name.finalPath])
            } catch {
                let fields: KeyValuePairs = ["path": name.finalPath, "error": "\(error)"]
                context.log(.warn, "Recording not added to the catalogue", fields)
            }
        }
    }

    private func wantsRemux(_ part: CataloguePart) -> Bool {
        context.wantsRemux && part.status == .finished && part.output == nil
            && part.container == MediaContainer.mpegTS.rawValue
    }

    private func report(_ file: RecoveredFile) {
        context.heartbeat()
        if let label = file.label { context.metrics.recovered[label]?.add() }
        if case .failed(let error) = file.outcome {
            context.metrics.finalizeErrors[error.reason]?.add()
        }
        context.log(
            file.label == nil ? .warn : .info,
            file.publishedName == nil
                ? "Part file of an earlier run examined" : "Recording of an earlier run recovered",
            ["path": file.name.partPath, "outcome": "\(file.outcome)"]
        )
    }
}

extension RecoveredFile {
    /// Its final name; `nil` when it has none.
    fileprivate var publishedName: RecordingName? {
        switch outcome {
        case .published(let path, _), .truncated(let path, _, _):
            RecordingName(finalName: lastPathComponent(path), in: name.directory)
        case .discarded, .inUse, .failed: nil
        }
    }
}

extension UnlistedRecording {
    /// The file with the final name; `nil` when it is not a complete file of its container, or locked.
    fileprivate init?(examining name: RecordingName) {
        do throws(SystemError) {
            let flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK
            let file = try FileDescriptor(opening: name.finalPath, flags)
            let status = try file.status()
            guard status.st_mode & S_IFMT == S_IFREG, try file.tryExclusiveLock(),
                try name.container.completeLength(of: file) == Int(status.st_size)
            else { return nil }
            self.init(
                name: name,
                bytes: Int(status.st_size),
                lastWrittenAt: UTCTime(status.modifiedAt)
            )
        } catch {
            return nil
        }
    }
}

/// For each stream, the recording that ended early and can be continued.
final class ResumableRecordings: Sendable {
    /// A recording can be continued within this time after its end; later, a new one begins.
    let window: Duration
    private let latest = Mutex<[String: ResumableRecording]>([:])

    /// Parts of one recording: a source that begins a new part every second must not do so for ever.
    private static let maxParts = 999

    init(within window: Duration) {
        self.window = window
    }

    /// Adds a recording, unless there is a newer one of its stream.
    func add(_ recording: ResumableRecording) {
        latest.withLock { latest in
            let known = latest[recording.stream]
            if let known, known.recordingID > recording.recordingID { return }
            latest[recording.stream] = recording
        }
    }

    /// The recording of `stream` has ended: the next one is new.
    func remove(_ stream: String) {
        latest.withLock { $0[stream] = nil }
    }

    /// The recording that is continued when `stream` begins at `now`; none that began `limit` ago.
    func find(
        _ stream: String,
        at now: UTCTime,
        _ boot: BootStamp? = .now(),
        lastingLessThan limit: Duration? = nil
    ) -> ResumableRecording? {
        let found = latest.withLock { $0[stream] }
        guard let found, isRecent(found, at: now, boot), found.nextPart <= Self.maxParts else {
            return nil
        }
        let age = Duration.seconds(now.seconds.addingWithSaturation(-found.startedAt.seconds))
        return limit.map { age < $0 } ?? true ? found : nil
    }

    /// Whether it ended within the window: by the boot's clock, if that was in this boot, otherwise by the calendar.
    private func isRecent(_ one: ResumableRecording, at now: UTCTime, _ boot: BootStamp?) -> Bool {
        if let endedBoot = one.endedBoot, let time = boot?.since(endedBoot) {
            return time <= window
        }
        let seconds = now.seconds.addingWithSaturation(-one.endedAt.seconds)
        return .seconds(Int(clamping: seconds.magnitude)) <= window
    }
}
