import Media
import Posix

/// Something that happened to a recording, to be entered into the catalogue.
enum CatalogueEntry: Equatable, Sendable {
    case partBegan(PartBeginning)
    case partEnded(PartEnd)
    case recordingEnded(RecordingEnd)
    case partDeleted(PartDeletion)
    case remuxWanted(recordingID: Int64, number: Int)
}

extension SQLiteDatabase {
    /// Enters what happened; the same entry a second time changes nothing more.
    mutating func enter(_ entry: CatalogueEntry) throws(CatalogueError) {
        switch entry {
        case .partBegan(let beginning): try begin(beginning)
        case .partEnded(let end): try self.end(end)
        case .recordingEnded(let end): try self.end(end)
        case .partDeleted(let deletion): try delete(deletion)
        case .remuxWanted(let id, let number): try wantRemux(of: id, number)
        }
    }

    /// Enters a part, and its recording with the first of them; a later part opens the recording again.
    private mutating func begin(_ part: PartBeginning) throws(CatalogueError) {
        try run(
            """
            INSERT INTO recordings (id, stream, title, status, started_at)
            VALUES (?, ?, ?, 'recording', ?)
            ON CONFLICT (id) DO UPDATE
            SET status = 'recording', ended_at = NULL, failure_reason = NULL,
                ended_boot = NULL, ended_boottime = NULL
            """,
            [
                .integer(part.recordingID), .text(part.stream), SQLiteValue(part.title),
                .text(part.recordingStartedAt.iso8601),
            ]
        )
        try run(
            """
            INSERT INTO parts (recording_id, number, path, container, status, started_at)
            VALUES (?, ?, ?, ?, 'recording', ?)
            """,
            [
                .integer(part.recordingID), .integer(Int64(part.number)), .text(part.path),
                .text(part.container.rawValue), .text(part.startedAt.iso8601),
            ]
        )
    }

    private mutating func end(_ end: PartEnd) throws(CatalogueError) {
        try run(
            """
            UPDATE parts SET status = ?, bytes = ?, path = ?, failure_reason = ?, ended_at = ?
            WHERE recording_id = ? AND number = ?
            """,
            [
                .text(end.status.rawValue), .integer(Int64(end.bytes)), .text(end.path),
                SQLiteValue(end.failureReason), .text(end.endedAt.iso8601),
                .integer(end.recordingID), .integer(Int64(end.number)),
            ]
        )
        guard changedRows == 1 else {
            let name = "part \(end.number) of recording \(end.recordingID)"
            throw .database(.other, message: "there is no \(name)")
        }
    }

    private mutating func delete(_ deletion: PartDeletion) throws(CatalogueError) {
        try run(
            """
            UPDATE parts SET status = 'deleted', deleted_because = ?, deleted_at = ?
            WHERE recording_id = ? AND number = ?
            """,
            [
                .text(deletion.reason.rawValue), .text(deletion.at.iso8601),
                .integer(deletion.recordingID), .integer(Int64(deletion.number)),
            ]
        )
    }

    private mutating func end(_ end: RecordingEnd) throws(CatalogueError) {
        try run(
            """
            UPDATE recordings SET status = ?, failure_reason = ?, ended_at = ?, ended_boot = ?,
                ended_boottime = ?
            WHERE id = ?
            """,
            [
                .text(end.status.rawValue), SQLiteValue(end.failureReason),
                .text(end.endedAt.iso8601), SQLiteValue(end.endedBoot?.boot),
                end.endedBoot.map { .integer(Int64(clamping: $0.time.nanoseconds)) } ?? .null,
                .integer(end.recordingID),
            ]
        )
        guard changedRows == 1 else {
            throw .database(.other, message: "there is no recording \(end.recordingID)")
        }
    }
}
