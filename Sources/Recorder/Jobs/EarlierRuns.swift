import Glibc
import Media
import Posix
import StreamVaultTelemetry

/// Recovers what earlier runs left: their files, their rows in the catalogue, and the recordings that may be continued.
struct EarlierRuns: Sendable {
    let context: RecordingContext
    let recovery: Recovery

    /// Goes through the files, one by one, until `stop` is requested; the next start does the rest.
    func recover(until stop: StopSignal) {
        if let first = recovery.foreign.first {
            let fields: KeyValuePairs = ["count": "\(recovery.foreign.count)", "first": first]
            context.log(.info, "Part files that are not this recorder's left alone", fields)
        }
        let files = recovery.run(while: { !stop.isRequested }, onOutcome: report)
        if stop.isRequested {
            context.log(.warn, "Recovery interrupted, the next start continues it")
        }
        do throws(CatalogueError) {
            let changed = try context.catalogue.recoverUnfinished(files, in: recovery.directory)
            for part in changed.flatMap(\.parts) where wantsRemux(part) {
                context.journal.enter(
                    .remuxWanted(recordingID: part.recordingID, number: part.number)
                )
            }
            try adoptUnknown(recovery.finished + files.compactMap(\.publishedName), until: stop)
            for continuation in try context.catalogue.continuations() {
                context.continuations.add(continuation)
            }
        } catch {
            context.log(.error, "Recovery not in the catalogue", ["error": "\(error)"])
        }
    }

    /// Enters finished recordings that the catalogue does not know, where they are whole and nobody holds them.
    private func adoptUnknown(
        _ finished: [RecordingName],
        until stop: StopSignal
    ) throws(CatalogueError) {
        let known = try context.catalogue.knownNames()
        let stems = Set(finished.filter { $0.container == .mpegTS }.map(\.stem))
        for name in finished where !stop.isRequested {
            let isProduct = name.container == .fragmentedMP4 && stems.contains(name.stem)
            guard !isProduct, !known.contains(lastPathComponent(name.finalPath)),
                let found = FoundRecording(examining: name)
            else { continue }
            do throws(CatalogueError) {
                try context.catalogue.adopt(found)
                context.log(.info, "Recording entered by its name", ["path": name.finalPath])
            } catch {
                let fields: KeyValuePairs = ["path": name.finalPath, "error": "\(error)"]
                context.log(.warn, "Recording not entered", fields)
            }
        }
    }

    private func wantsRemux(_ part: CataloguePart) -> Bool {
        context.wantsRemux && part.status == .finished && part.product == nil
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
    /// The final name that it has now; `nil` when it has none.
    fileprivate var publishedName: RecordingName? {
        switch outcome {
        case .published(let path, _), .truncated(let path, _, _):
            RecordingName(finalName: lastPathComponent(path), in: name.directory)
        case .discarded, .inUse, .failed: nil
        }
    }
}

extension FoundRecording {
    /// What stands at the final name; `nil` when that is not a whole file of its container, or somebody holds it.
    fileprivate init?(examining name: RecordingName) {
        do throws(SystemError) {
            let flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK
            let file = try FileDescriptor(opening: name.finalPath, flags)
            let status = try file.status()
            guard status.st_mode & S_IFMT == S_IFREG, try file.tryExclusiveLock(),
                try name.container.wholeLength(of: file) == Int(status.st_size)
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
