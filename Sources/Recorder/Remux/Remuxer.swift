import Glibc
import Posix
import StreamVaultTelemetry

/// Converts finished transport streams to MP4, one at a time, at the lowest priority: jobs of the catalogue.
struct Remuxer: Sendable {
    let context: RecordingContext
    let deletesSource: Bool

    /// Works until `stop` is requested; the job under way is then cut off, and waits for the next start.
    func run(until stop: StopSignal) {
        do throws(CatalogueError) {
            try context.catalogue.requeueJobs()
        } catch {
            context.log(.warn, "Remux jobs have to wait", ["error": "\(error)"])
        }
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
            context.log(.error, "Remux job not entered", ["error": "\(error)"])
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
                ["path": job.source.path, "attempt": "\(job.attempts + 1)", "error": reason]
            )
        }
    }
}

extension RecordingName {
    /// The name of the MP4 that a transport stream is converted to.
    fileprivate init(productOf path: String, in directory: String) {
        let stem = String(
            lastPathComponent(path).dropLast(MediaContainer.mpegTS.rawValue.count + 1)
        )
        self.init(directory: directory, stem: stem, container: .fragmentedMP4)
    }
}

extension Remuxer {
    /// Makes the product, compares it with the source, and gives it its name.
    private func convert(
        _ source: StoredFile,
        until stop: StopSignal
    ) throws(BackgroundProgram.Failure) -> StoredFile {
        // Held to the end: nobody removes or converts the source meanwhile.
        guard let lock = try lock(source) else { throw .failed("\(source.path) is gone") }
        defer { _ = lock.rawValue }
        let facts = try MediaFacts.of(source.path, until: stop)
        let name = RecordingName(productOf: source.path, in: context.directory)
        // A kill may have come between the name and its row.
        if let product = try? verified(name.finalPath, facts, until: stop) { return product }
        let draft = "\(name.finalPath).remux"
        do throws(BackgroundProgram.Failure) {
            try run(source.path, draft, bytes: source.bytes, until: stop)
            let whole = try verified(draft, facts, until: stop)
            return StoredFile(path: try publish(draft, as: name), bytes: whole.bytes)
        } catch {
            try? FileSystem.unlink(draft)
            throw error
        }
    }

    private func lock(_ source: StoredFile) throws(BackgroundProgram.Failure) -> FileDescriptor? {
        do throws(StoredFile.Objection) {
            return try source.lock()
        } catch {
            throw .failed("\(source.path): \(error)")
        }
    }

    private func run(
        _ source: String,
        _ draft: String,
        bytes: Int,
        until stop: StopSignal
    ) throws(BackgroundProgram.Failure) {
        let conversion = BackgroundProgram(
            arguments: [
                "ffmpeg", "-v", "error", "-nostdin", "-y", "-i", source,
                "-map", "0:v?", "-map", "0:a?", "-c", "copy", "-movflags", "+faststart",
                "-f", "mp4", draft,
            ],
            // A disk that is busy with recordings still does a megabyte a second.
            patience: .seconds(600 + bytes >> 20)
        )
        _ = try conversion.run(until: stop)
    }

    /// The file at `path`, if it plays as long as the source and has its streams.
    private func verified(
        _ path: String,
        _ source: MediaFacts,
        until stop: StopSignal
    ) throws(BackgroundProgram.Failure) -> StoredFile {
        let product = try MediaFacts.of(path, until: stop)
        if let loss = source.loss(in: product) { throw .failed(loss) }
        do throws(SystemError) {
            return StoredFile(path: path, bytes: Int(try FileSystem.status(of: path).st_size))
        } catch {
            throw .failed("\(error)")
        }
    }

    private func publish(
        _ draft: String,
        as name: RecordingName
    ) throws(BackgroundProgram.Failure) -> String {
        do throws(SystemError) {
            try FileDescriptor(opening: draft, O_RDONLY).synchronize()
            return try name.publish(draft)
        } catch {
            throw .failed("\(error)")
        }
    }
}
