import Posix
import StreamVaultTelemetry

/// One recording, from its first media to its finalized file; lives on its stream's thread.
final class RunningRecording {
    let stream: StreamConfiguration
    private(set) var facts: ActiveRecording
    private let context: RecordingContext
    private let telemetry: RecordingPublisher
    private var file: PartFile?

    /// Makes the file, the row in the catalogue and the place in the telemetry.
    ///
    /// A catalogue that fails does not cost the recording: its id is then 0.
    init(
        _ stream: StreamConfiguration,
        _ container: MediaContainer,
        _ context: RecordingContext
    ) throws(SystemError) {
        let startedAt = WallTime.now()
        let file = try PartFile.create(
            stream: stream.name,
            startedAt: startedAt,
            container: container,
            in: context.directory,
            syncInterval: context.syncInterval
        )
        let path = file.name.partPath
        self.file = consume file
        let new = NewRecording(
            stream: stream.name,
            title: stream.title,
            path: path,
            container: container,
            startedAt: UTCTime(startedAt)
        )
        let id = context.enter(new)
        facts = ActiveRecording(
            id: id,
            stream: stream.name,
            title: stream.title,
            startedAt: startedAt,
            startedBoot: .now(),
            filePath: path,
            container: container
        )
        telemetry = context.publisher.startRecording(
            id: UInt64(clamping: id),
            stream: stream.name,
            path: path,
            container: container.rawValue
        )
        (self.stream, self.context) = (stream, context)
    }

    func append(_ media: Span<UInt8>) throws(SystemError) {
        try file?.append(media)
        facts.bytes += media.count
        telemetry.wrote(media.count)
        context.metrics.writtenBytes.add(UInt64(media.count))
        try file?.synchronizeIfDue(now: .now())
    }

    /// Brings the file to its final name, and enters how the recording ended: `result`, or failed where that fails.
    ///
    /// - Returns: why the file could not be finalized.
    func finish(_ result: RecordingResult) -> FinalizeError? {
        telemetry.finalizing()
        let start = BootTime.now()
        guard let file = file.take() else { return nil }
        do throws(FinalizeError) {
            let finished = try file.finish()
            context.metrics.finalizeDuration.observe(BootTime.now().since(start))
            enter(finished, result)
            return nil
        } catch {
            context.metrics.finalizeErrors[error.reason]?.add()
            context.log.plain("❌ Error finalizing recording: \(error)")
            let detail: KeyValuePairs = ["stream": stream.name, "error": error.detail]
            context.log(.error, "Recording not finalized, left for the next start", detail)
            end(
                .failed,
                RecordingEnd(failed: error.reason, bytes: facts.bytes, path: facts.filePath)
            )
            return error
        }
    }

    private func enter(_ finished: FinishedFile, _ result: RecordingResult) {
        switch finished {
        case .published(let path, let bytes, let cutBytes):
            (facts.filePath, facts.bytes) = (path, bytes)
            let end = RecordingEnd(
                status: result.status,
                bytes: bytes,
                path: path,
                endedAt: UTCTime(.now())
            )
            context.log(
                .info,
                "Recording finalized",
                [
                    "stream": stream.name, "path": path, "bytes": "\(bytes)",
                    "cut_bytes": "\(cutBytes)", "result": result.rawValue,
                ]
            )
            self.end(result, end)
        case .empty:
            end(.failed, RecordingEnd(failed: .invalidMedia, bytes: 0, path: facts.filePath))
        }
    }

    private func end(_ result: RecordingResult, _ end: RecordingEnd) {
        context.enter(end, of: facts.id)
        telemetry.end(result)
    }
}

extension RecordingResult {
    fileprivate var status: CatalogueRecording.Status {
        switch self {
        case .completed: .completed
        case .interrupted: .interrupted
        case .failed: .failed
        }
    }
}

extension RecordingEnd {
    fileprivate init(failed reason: FinalizeError.Reason, bytes: Int, path: String) {
        self.init(
            status: .failed,
            bytes: bytes,
            path: path,
            failureReason: reason.rawValue,
            endedAt: UTCTime(.now())
        )
    }
}

extension RecordingContext {
    /// Enters a new recording into the catalogue; 0 when that fails, which is logged.
    fileprivate func enter(_ recording: NewRecording) -> Int64 {
        do throws(CatalogueError) {
            return try catalogue.start(recording)
        } catch {
            log(.error, "Recording not in the catalogue", ["error": "\(error)"])
            return 0
        }
    }

    fileprivate func enter(_ end: RecordingEnd, of id: Int64) {
        guard id != 0 else { return }
        do throws(CatalogueError) {
            try catalogue.end(id, end)
        } catch {
            log(.error, "End of recording not in the catalogue", ["error": "\(error)"])
        }
    }
}
