import Glibc
import Posix

extension Catalogue {
    /// Enters what the recovery found for the recordings that an earlier run left unfinished.
    ///
    /// A row whose file another living recorder holds stays as it is. Rows and files are matched by the file's name, not
    /// its path: the directory may be mounted elsewhere than before.
    /// - Returns: the rows that changed, as they are now.
    @discardableResult
    func recoverUnfinished(
        _ files: [RecoveredFile],
        at now: UTCTime = UTCTime(.now())
    ) throws(CatalogueError) -> [CatalogueRecording] {
        var filesByName: [String: RecoveredFile] = [:]
        for file in files { filesByName[lastComponent(of: file.name.partPath)] = file }
        return try transaction { (database) throws(CatalogueError) in
            var changed: [CatalogueRecording] = []
            let condition: StaticString = "status <> 'completed' AND path LIKE '%.part'"
            // The newest first: a name is free again once its file was discarded, and the older row has had its outcome.
            for row in try database.recordings(where: condition).reversed() {
                let file = filesByName.removeValue(forKey: lastComponent(of: row.path))
                guard let end = row.end(with: file, at: now) else { continue }
                try database.end(row.id, end)
                changed.append(row.ended(end))
            }
            return changed.reversed()
        }
    }
}

extension CatalogueRecording {
    /// How the recording ended, given what the recovery met of its file; `nil` to leave the row.
    fileprivate func end(with file: RecoveredFile?, at now: UTCTime) -> RecordingEnd? {
        let endedAt = file?.lastWrittenAt.map { UTCTime($0) } ?? now
        var end = RecordingEnd(status: .interrupted, bytes: 0, path: path, endedAt: endedAt)
        switch file?.outcome {
        case .published(let path, let bytes), .truncated(let path, let bytes, _):
            (end.path, end.bytes) = (path, bytes)
        case .discarded(let bytes, let keptAt):
            (end.status, end.failureReason) = (.failed, FinalizeError.Reason.invalidMedia.rawValue)
            (end.path, end.bytes) = (keptAt ?? path, keptAt == nil ? 0 : bytes)
        case .failed(let error):
            (end.status, end.failureReason) = (.failed, error.reason.rawValue)
        case .inUse:
            return nil
        case nil:
            guard status == .recording else { return nil }
            return endWithoutPart(at: now)
        }
        return end
    }

    /// The part file is gone: the run died between publishing it and entering that here, or someone removed it.
    private func endWithoutPart(at now: UTCTime) -> RecordingEnd {
        let finalPath = String(path.dropLast(".part".count))
        guard let status = try? FileSystem.status(of: finalPath) else {
            return RecordingEnd(
                status: .failed,
                bytes: 0,
                path: path,
                failureReason: FinalizeError.Reason.other.rawValue,
                endedAt: now
            )
        }
        let bytes = Int(status.st_size)
        return RecordingEnd(status: .interrupted, bytes: bytes, path: finalPath, endedAt: now)
    }
}

private func lastComponent(of path: String) -> String {
    path.split(separator: "/").last.map(String.init) ?? ""
}
