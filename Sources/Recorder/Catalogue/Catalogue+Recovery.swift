import Glibc
import Media
import Posix

extension Catalogue {
    /// Enters what the recovery found for the parts that an earlier run left unfinished, and how their recordings ended.
    ///
    /// Rows and files are matched by the file's name, not its path: the directory may be mounted elsewhere than before. A
    /// part whose file the recovery did not come to stays as it is: it was interrupted, or another recorder holds the file.
    /// - Returns: the recordings that changed, as they are now.
    @discardableResult
    func recoverUnfinished(
        _ files: [RecoveredFile],
        in directory: String,
        at now: UTCTime = UTCTime(.now())
    ) throws(CatalogueError) -> [CatalogueRecording] {
        var filesByName: [String: RecoveredFile] = [:]
        for file in files { filesByName[lastPathComponent(file.name.partPath)] = file }
        return try transaction { (database) throws(CatalogueError) in
            var changed: Set<Int64> = []
            // The newest first: a name is free again once its file was discarded, and the older row has had its outcome.
            for part in try database.unfinishedParts().reversed() {
                let file = filesByName.removeValue(forKey: lastPathComponent(part.path))
                guard let end = part.end(with: file, in: directory, at: now) else { continue }
                try database.enter(.partEnded(end))
                changed.insert(part.recordingID)
            }
            return try database.settle(changed, at: now)
        }
    }
}

extension SQLiteDatabase {
    fileprivate mutating func unfinishedParts() throws(CatalogueError) -> [CataloguePart] {
        try parts(where: "status IN ('recording', 'failed') AND path LIKE '%.part'")
    }

    /// Ends the recordings that have no running part any more; those that changed, or whose parts did.
    fileprivate mutating func settle(
        _ changed: Set<Int64>,
        at now: UTCTime
    ) throws(CatalogueError) -> [CatalogueRecording] {
        var candidates = changed
        for row in try run("SELECT id FROM recordings WHERE status IN ('recording', 'abandoned')") {
            if let id = row.first?.asInteger { candidates.insert(id) }
        }
        var settled: [CatalogueRecording] = []
        for id in candidates.sorted() {
            let found = try recordings(where: "id = ?", [.integer(id)])
            guard let end = found.first?.endAfterRecovery(at: now) else { continue }
            try enter(.recordingEnded(end))
            settled += try recordings(where: "id = ?", [.integer(id)])
        }
        return settled
    }
}

extension CatalogueRecording {
    /// How the recording ended, by what became of its parts; `nil` to leave the row.
    fileprivate func endAfterRecovery(at now: UTCTime) -> RecordingEnd? {
        guard !parts.contains(where: { $0.status == .recording }) else { return nil }
        var end = RecordingEnd(
            recordingID: id,
            status: status,
            failureReason: failureReason,
            endedAt: parts.last?.endedAt ?? now,
            endedBoot: endedBoot
        )
        switch status {
        case .completed, .interrupted: break
        case .recording, .abandoned, .failed:
            let isPlayable = parts.contains { $0.status == .finished }
            end.status = isPlayable ? .interrupted : .failed
            end.failureReason = isPlayable ? nil : parts.last?.failureReason
        }
        return end
    }
}

extension CataloguePart {
    /// How the part ended, given what the recovery met of its file; `nil` to leave the row.
    fileprivate func end(
        with file: RecoveredFile?,
        in directory: String,
        at now: UTCTime
    ) -> PartEnd? {
        var end = PartEnd(
            recordingID: recordingID,
            number: number,
            status: .finished,
            bytes: 0,
            path: path,
            endedAt: file?.lastWrittenAt.map { UTCTime($0) } ?? now
        )
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
            return endWithoutFile(end, in: directory)
        }
        return end
    }

    /// The recovery met no part file: the run died between publishing it and entering that here, or someone removed it.
    private func endWithoutFile(_ end: PartEnd, in directory: String) -> PartEnd? {
        let name = RecordingName(partName: lastPathComponent(path), in: directory)
        if let name, (try? FileSystem.linkStatus(of: name.partPath)) != nil { return nil }
        var end = end
        // Another program's file, to which a row of a stranger refers, is not entered: retention would remove it.
        if let name, let status = try? FileSystem.linkStatus(of: name.finalPath),
            status.st_mode & S_IFMT == S_IFREG
        {
            (end.path, end.bytes) = (name.finalPath, Int(status.st_size))
        } else {
            (end.status, end.failureReason) = (.failed, FinalizeError.Reason.other.rawValue)
        }
        return end
    }
}
