import Glibc
package import Media
package import Posix

/// What a start enters for recordings that an earlier run left: unfinished ones, unlisted ones, and which can be continued.
extension Catalogue {
    /// Enters the result of the recovery for the parts that an earlier run left unfinished, and the end of their recordings.
    ///
    /// Rows and files are matched by the file's name, not its path: the directory may be mounted elsewhere than before. A part whose
    /// file the recovery did not reach is not changed: the recovery was interrupted, or another recorder holds the file.
    /// - Returns: the recordings that changed, as they are now.
    @discardableResult
    package func recoverUnfinished(
        _ files: [RecoveredFile],
        in directory: String,
        at now: UTCTime = UTCTime(.now())
    ) throws(CatalogueError) -> [CatalogueRecording] {
        var filesByName: [String: RecoveredFile] = [:]
        for file in files { filesByName[lastPathComponent(file.name.partPath)] = file }
        return try transaction { (database) throws(CatalogueError) in
            var changed: Set<Int64> = []
            // The newest first: once a file was discarded its name is free again, and an older row already has its result.
            for part in try database.unfinishedParts().reversed() {
                let file = filesByName.removeValue(forKey: lastPathComponent(part.path))
                guard let end = part.end(with: file, in: directory, at: now) else { continue }
                try database.apply(.partEnded(end))
                changed.insert(part.recordingID)
            }
            return try database.endRecordings(changed, at: now)
        }
    }
}

extension SQLiteDatabase {
    fileprivate mutating func unfinishedParts() throws(CatalogueError) -> [CataloguePart] {
        try parts(where: "status IN ('recording', 'failed') AND path LIKE '%.part'")
    }

    /// Ends the recordings that have no running part any more.
    ///
    /// - Returns: those that changed, or whose parts did.
    fileprivate mutating func endRecordings(
        _ changed: Set<Int64>,
        at now: UTCTime
    ) throws(CatalogueError) -> [CatalogueRecording] {
        var candidates = changed
        for row in try run("SELECT id FROM recordings WHERE status IN ('recording', 'abandoned')") {
            if let id = row.first?.asInteger { candidates.insert(id) }
        }
        var ended: [CatalogueRecording] = []
        for id in candidates.sorted() {
            let found = try recordings(where: "id = ?", [.integer(id)])
            guard let end = found.first?.endAfterRecovery(at: now) else { continue }
            try apply(.recordingEnded(end))
            ended += try recordings(where: "id = ?", [.integer(id)])
        }
        return ended
    }
}

extension CatalogueRecording {
    /// How the recording ended, according to its parts; `nil` while one of them is running.
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
    /// How the part ended, according to the recovery of its file; `nil` to leave the row unchanged.
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

    /// There was no part file: the run ended after it had published the file and before it entered that, or someone removed it.
    private func endWithoutFile(_ end: PartEnd, in directory: String) -> PartEnd? {
        let name = RecordingName(partName: lastPathComponent(path), in: directory)
        if let name, (try? FileSystem.linkStatus(of: name.partPath)) != nil { return nil }
        var end = end
        // A file that is not named as a recording is not entered, whatever the row says: retention would delete it.
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

/// A finalized recording that is not in the catalogue, which was damaged, or could not be written.
package struct UnlistedRecording: Equatable, Sendable {
    package let name: RecordingName
    package let bytes: Int
    package let lastWrittenAt: UTCTime

    package init(name: RecordingName, bytes: Int, lastWrittenAt: UTCTime) {
        (self.name, self.bytes, self.lastWrittenAt) = (name, bytes, lastWrittenAt)
    }

    /// When the recording began, if the time is plausible: a recording from before the clock was set is not the oldest.
    fileprivate var plausibleStart: UTCTime? {
        [name.parts?.startedAt, lastWrittenAt].compactMap(\.self).first { $0 >= .earliestPlausible }
    }
}

extension Catalogue {
    /// The names of all files in the catalogue, deleted ones included.
    package func listedFileNames() throws(CatalogueError) -> Set<String> {
        let rows = try reading { (database) throws(CatalogueError) in
            try database.run("SELECT path FROM parts UNION SELECT product_path FROM parts")
        }
        return Set(rows.compactMap { $0.first?.asText.map(lastPathComponent) })
    }

    /// Adds a recording, or a part of one, according to its name; it ended when its file was last written.
    package func add(_ found: UnlistedRecording) throws(CatalogueError) {
        guard let facts = found.name.parts else { return }
        try transaction { (database) throws(CatalogueError) in
            let known = try database.recordings(
                where: "stream = ? AND started_at = ?",
                [.text(facts.stream), .text(facts.startedAt.iso8601)]
            ).first
            let freeID = try database.freeID(startingAt: found.plausibleStart)
            let id = known?.id ?? freeID
            let number = known?.freeNumber(preferring: facts.part) ?? facts.part
            let start = PartStart(
                recordingID: id,
                stream: facts.stream,
                recordingStartedAt: facts.startedAt,
                number: number,
                path: found.name.finalPath,
                container: found.name.container,
                startedAt: facts.startedAt
            )
            let end = PartEnd(
                recordingID: id,
                number: number,
                status: .finished,
                bytes: found.bytes,
                path: found.name.finalPath,
                endedAt: found.lastWrittenAt
            )
            let recordingEnd = RecordingEnd(
                recordingID: id,
                status: known?.status ?? .interrupted,
                failureReason: known?.failureReason,
                endedAt: max(known?.endedAt ?? found.lastWrittenAt, found.lastWrittenAt),
                endedBoot: known?.endedBoot
            )
            try database.apply(.partStarted(start))
            try database.apply(.partEnded(end))
            try database.apply(.recordingEnded(recordingEnd))
        }
    }
}

extension CatalogueRecording {
    /// A number for a new part: `_part002-2` is the name of a file whose number another one has.
    fileprivate func freeNumber(preferring number: Int) -> Int {
        guard parts.contains(where: { $0.number == number }) else { return number }
        return (parts.last?.number ?? number).addingWithSaturation(1)
    }
}

extension SQLiteDatabase {
    /// An id that a recording with this start would have been assigned; without a start, one after the newest recording's.
    fileprivate mutating func freeID(
        startingAt start: UTCTime?
    ) throws(CatalogueError) -> Int64 {
        guard let start else {
            return max(try newestID(), UTCTime.earliestPlausible.firstID) + 1
        }
        let rows = try run(
            "SELECT max(id) FROM recordings WHERE id BETWEEN ? AND ?",
            [.integer(start.firstID), .integer(start.firstID + 999_999)]
        )
        return rows.first?.first?.asInteger.map { $0 + 1 } ?? start.firstID
    }
}

extension UTCTime {
    /// A clock that shows an earlier time is wrong: this recorder did not exist then.
    ///
    /// A host without a clock battery starts in 1970.
    package static let earliestPlausible = UTCTime(seconds: 1_767_225_600)  // 2026-01-01T00:00:00Z

    /// The id of a recording that begins with this second.
    fileprivate var firstID: Int64 {
        let (id, overflow) = Int64(seconds).multipliedReportingOverflow(by: 1_000_000)
        return overflow ? 0 : min(max(0, id), CatalogueRecording.maxID)
    }
}

/// A recording that ended early, and can be continued in its next part.
package struct ResumableRecording: Equatable, Sendable {
    package let recordingID: Int64
    package let stream: String
    package let startedAt: UTCTime
    package let endedAt: UTCTime
    /// The same moment on a clock that cannot be set, if it is known.
    package var endedBoot: BootStamp?
    package let nextPart: Int

    package init(
        recordingID: Int64,
        stream: String,
        startedAt: UTCTime,
        endedAt: UTCTime,
        endedBoot: BootStamp? = nil,
        nextPart: Int
    ) {
        (self.recordingID, self.stream, self.startedAt) = (recordingID, stream, startedAt)
        (self.endedAt, self.endedBoot, self.nextPart) = (endedAt, endedBoot, nextPart)
    }
}

extension Catalogue {
    /// The last recording of each stream, if it ended early.
    package func resumableRecordings() throws(CatalogueError) -> [ResumableRecording] {
        let recordings = try reading { (database) throws(CatalogueError) in
            try database.recordings(
                where: """
                    status IN ('interrupted', 'failed') AND id IN (
                        SELECT max(other.id) FROM recordings AS other GROUP BY other.stream
                    )
                    """
            )
        }
        return recordings.compactMap { recording in
            guard let endedAt = recording.endedAt, let last = recording.parts.last else {
                return nil
            }
            return ResumableRecording(
                recordingID: recording.id,
                stream: recording.stream,
                startedAt: recording.startedAt,
                endedAt: endedAt,
                endedBoot: recording.endedBoot,
                nextPart: last.number.addingWithSaturation(1)
            )
        }
    }
}
