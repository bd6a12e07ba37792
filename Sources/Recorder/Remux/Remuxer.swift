import Glibc
import Media
import Posix
import StreamVaultTelemetry

/// Converts finished transport streams to MP4, one at a time, at the lowest priority: jobs of the catalogue.
struct Remuxer: Sendable {
    let context: RecordingContext
    let deletesSource: Bool
    private let limiter = LogLimiter()

    /// Works until `stop` is requested; the job under way is then cut off, and waits for the next start.
    func run(until stop: StopSignal) {
        do throws(CatalogueError) {
            try context.catalogue.requeueJobs()
        } catch {
            context.log(.warn, "Remux jobs have to wait", ["error": "\(error)"])
        }
        RemuxDraft.removeLeftovers(in: context.directory)
        repeat {
            while !stop.isRequested, let job = nextJob() { perform(job, until: stop) }
        } while !stop.wait(until: BootTime.now().advanced(by: .seconds(2)))
    }

    private func nextJob() -> RemuxJob? {
        try? context.catalogue.takeJob(at: UTCTime(.now()))
    }

    private func perform(_ job: RemuxJob, until stop: StopSignal) {
        let outcome = attempt(job, until: stop)
        do throws(CatalogueError) {
            let status = try context.catalogue.end(job, outcome)
            report(job, outcome, status)
        } catch {
            context.log(
                .error,
                "Remux job not entered",
                ["error": "\(error)"],
                limitedBy: limiter,
                condition: "\(error)"
            )
            _ = stop.wait(until: BootTime.now().advanced(by: .seconds(2)))
        }
    }

    private func attempt(_ job: RemuxJob, until stop: StopSignal) -> RemuxOutcome {
        do throws(BackgroundProgram.Failure) {
            let source = StoredFile(job.source, in: context.directory)
            switch job.status {
            case .deleting:
                try delete(source)
                return .sourceDeleted
            case .pending, .running, .done, .failed:
                let product = try convert(source, until: stop)
                return .produced(product, deletesSource: deletesSource)
            }
        } catch {
            switch error {
            case .stopped: return .cancelled
            case .failed(let reason): return .failed(reason)
            }
        }
    }

    private func delete(_ source: StoredFile) throws(BackgroundProgram.Failure) {
        do throws(StoredFile.Objection) {
            try source.remove()
        } catch {
            throw .failed("\(source.path): \(error)")
        }
    }

    private func report(_ job: RemuxJob, _ outcome: RemuxOutcome, _ status: RemuxJob.Status) {
        switch outcome {
        case .produced(let product, _):
            context.metrics.remuxJobs[.done]?.add()
            let fields: KeyValuePairs = ["path": product.path, "bytes": "\(product.bytes)"]
            context.log(.info, "Recording remuxed", fields)
        case .sourceDeleted:
            context.log(.info, "Source of a remux deleted", ["path": job.source.path])
        case .cancelled:
            context.log(.info, "Remux cut off, the next start goes on", ["path": job.source.path])
        case .failed(let reason):
            let isLast = status == .failed
            context.metrics.remuxJobs[isLast ? .failed : .retried]?.add()
            context.log(
                isLast ? .error : .warn,
                isLast ? "Remux given up" : "Remux failed, to be tried again",
                [
                    "path": job.source.path, "attempt": "\(job.attempts.addingClamped(1))",
                    "error": reason,
                ]
            )
        }
    }
}

extension RecordingName {
    /// The name of the MP4 that a transport stream is converted to; `nil` for a path that is not one's.
    fileprivate init?(productOf path: String, in directory: String) {
        let source = RecordingName(finalName: lastPathComponent(path), in: directory)
        guard let source, source.container == .mpegTS else { return nil }
        self.init(directory: directory, stem: source.stem, container: .fragmentedMP4)
    }
}

extension Remuxer {
    /// Makes the product, compares it with the source, and gives it its name.
    private func convert(
        _ source: StoredFile,
        until stop: StopSignal
    ) throws(BackgroundProgram.Failure) -> StoredFile {
        guard let name = RecordingName(productOf: source.path, in: context.directory) else {
            throw .failed("\(source.path) is not named as a transport stream")
        }
        // Held to the end: nobody removes or converts the source meanwhile.
        guard let lock = try lock(source) else { throw .failed("\(source.path) is gone") }
        defer { _ = lock.rawValue }
        // The file that is locked, whatever its name refers to by now; opened anew, as a child would hold the lock.
        let media = try failing { () throws(SystemError) in
            try FileDescriptor(opening: "/proc/self/fd/\(lock.rawValue)", O_RDONLY)
        }
        let facts = try MediaFacts.of(media, as: .mpegTS, until: stop)
        // A kill may have come between the name and its row.
        if let product = try existing(name, facts, until: stop) { return product }
        let draft = try failing { () throws(SystemError) in try RemuxDraft(of: name) }
        try run(media, facts.tracks, draft.file, bytes: source.bytes, until: stop)
        let product = try MediaFacts.of(draft.file, as: .fragmentedMP4, until: stop)
        if let loss = facts.loss(in: product) { throw .failed(loss) }
        return try failing { () throws(SystemError) in try draft.publish() }
    }

    private func lock(_ source: StoredFile) throws(BackgroundProgram.Failure) -> FileDescriptor? {
        do throws(StoredFile.Objection) {
            return try source.lock()
        } catch {
            throw .failed("\(source.path): \(error)")
        }
    }

    private func run(
        _ source: borrowing FileDescriptor,
        _ tracks: [Int],
        _ draft: borrowing FileDescriptor,
        bytes: Int,
        until stop: StopSignal
    ) throws(BackgroundProgram.Failure) {
        let conversion = BackgroundProgram(
            arguments: ["ffmpeg", "-v", "error", "-nostdin", "-y"] + MediaContainer.mpegTS.probing
                + ["-i", BackgroundProgram.path(ofFile: 0)]
                + tracks.flatMap { ["-map", "0:\($0)"] }
                + [
                    "-c", "copy", "-movflags", "+faststart", "-f", "mp4",
                    BackgroundProgram.path(ofFile: 1),
                ],
            patience: .forMedia(of: bytes),
            files: [source.rawValue, draft.rawValue]
        )
        try conversion.run(until: stop)
    }

    /// What stands at the product's name, if it is an MP4 that has all packets of the source.
    private func existing(
        _ name: RecordingName,
        _ source: MediaFacts,
        until stop: StopSignal
    ) throws(BackgroundProgram.Failure) -> StoredFile? {
        let flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK
        guard let file = try? FileDescriptor(opening: name.finalPath, flags),
            let status = try? file.status(), status.st_mode & S_IFMT == S_IFREG
        else { return nil }
        do throws(BackgroundProgram.Failure) {
            let product = try MediaFacts.of(file, as: .fragmentedMP4, until: stop)
            guard source.loss(in: product) == nil else { return nil }
            return StoredFile(path: name.finalPath, bytes: Int(status.st_size))
        } catch {
            if error == .stopped { throw error }
            return nil  // It is no MP4.
        }
    }

    private func failing<Result: ~Copyable>(
        _ body: () throws(SystemError) -> Result
    ) throws(BackgroundProgram.Failure) -> Result {
        do throws(SystemError) {
            return try body()
        } catch {
            throw .failed("\(error)")
        }
    }
}
