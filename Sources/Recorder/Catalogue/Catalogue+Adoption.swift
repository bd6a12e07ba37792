import Posix

/// A finished recording that the catalogue does not know: it was damaged, or could not be written to.
struct FoundRecording: Equatable, Sendable {
    let name: RecordingName
    let bytes: Int
    let lastWrittenAt: UTCTime
}

extension Catalogue {
    /// The names of all files that the catalogue knows, also of those that are gone.
    func knownNames() throws(CatalogueError) -> Set<String> {
        let rows = try reading { (database) throws(CatalogueError) in
            try database.run("SELECT path FROM parts UNION SELECT product_path FROM parts")
        }
        return Set(rows.compactMap { $0.first?.asText.map(lastPathComponent) })
    }

    /// Enters a recording, or a part of one, by what its name says; its end is that of the file.
    func adopt(_ found: FoundRecording) throws(CatalogueError) {
        guard let facts = found.name.parts else { return }
        try transaction { (database) throws(CatalogueError) in
            let known = try database.recordings(
                where: "stream = ? AND started_at = ?",
                [.text(facts.stream), .text(facts.startedAt.iso8601)]
            ).first
            let freeID = try database.freeID(startingAt: facts.startedAt)
            let id = known?.id ?? freeID
            let number = known?.freeNumber(wanting: facts.part) ?? facts.part
            let beginning = PartBeginning(
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
                endedAt: max(known?.endedAt ?? found.lastWrittenAt, found.lastWrittenAt)
            )
            try database.enter(.partBegan(beginning))
            try database.enter(.partEnded(end))
            try database.enter(.recordingEnded(recordingEnd))
        }
    }
}

extension CatalogueRecording {
    /// The number that a part is given: a name with an alternative, `_part002-2`, says one that another file has.
    fileprivate func freeNumber(wanting number: Int) -> Int {
        guard parts.contains(where: { $0.number == number }) else { return number }
        return (parts.last?.number ?? number) + 1
    }
}

extension SQLiteDatabase {
    /// An id as a recording that began then would have got.
    fileprivate mutating func freeID(
        startingAt start: UTCTime
    ) throws(CatalogueError) -> Int64 {
        let first = Int64(start.seconds) * 1_000_000
        let rows = try run(
            "SELECT max(id) FROM recordings WHERE id BETWEEN ? AND ?",
            [.integer(first), .integer(first + 999_999)]
        )
        return rows.first?.first?.asInteger.map { $0 + 1 } ?? first
    }
}
