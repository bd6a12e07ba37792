import Media
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
            let freeID = try database.freeID(startingAt: found.plausibleStart)
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
                endedAt: max(known?.endedAt ?? found.lastWrittenAt, found.lastWrittenAt),
                endedBoot: known?.endedBoot
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
        return (parts.last?.number ?? number).addingClamped(1)
    }
}

extension SQLiteDatabase {
    /// An id as a recording that began then would have got; without a start, that of the newest recording.
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

    /// The largest id that a recorder may have given; 0 without any.
    mutating func newestID() throws(CatalogueError) -> Int64 {
        let rows = try run(
            "SELECT max(id) FROM recordings WHERE id BETWEEN 1 AND ?",
            [.integer(CatalogueRecording.maxID)]
        )
        return rows.first?.first?.asInteger ?? 0
    }
}

extension Catalogue {
    /// The id of the newest recording; 0 without any.
    func newestID() throws(CatalogueError) -> Int64 {
        try reading { (database) throws(CatalogueError) in try database.newestID() }
    }
}

extension CatalogueRecording {
    /// What is beyond was not given by a recorder: a microsecond of the year 9999 is well below.
    static let maxID: Int64 = 1 << 62
}

extension UTCTime {
    /// What a clock says before this is wrong, as this recorder is younger.
    ///
    /// A host without a battery begins in 1970.
    static let earliestPlausible = UTCTime(seconds: 1_767_225_600)  // 2026-01-01T00:00:00Z

    /// The id of a recording that begins with this second.
    fileprivate var firstID: Int64 {
        let (id, overflow) = Int64(seconds).multipliedReportingOverflow(by: 1_000_000)
        return overflow ? 0 : min(max(0, id), CatalogueRecording.maxID)
    }
}

extension FoundRecording {
    /// When the recording began, as far as that can be believed: a recording of a clock that was not set is not the oldest.
    fileprivate var plausibleStart: UTCTime? {
        [name.parts?.startedAt, lastWrittenAt].compactMap(\.self).first { $0 >= .earliestPlausible }
    }
}
