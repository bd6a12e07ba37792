import Posix

extension SQLiteDatabase {
    mutating func end(_ id: Int64, _ end: RecordingEnd) throws(CatalogueError) {
        try run(
            """
            UPDATE recordings
            SET status = ?, bytes = ?, path = ?, failure_reason = ?, ended_at = ?
            WHERE id = ?
            """,
            [
                .text(end.status.rawValue), .integer(Int64(end.bytes)), .text(end.path),
                SQLiteValue(end.failureReason), .text(end.endedAt.iso8601), .integer(id),
            ]
        )
        guard changedRows == 1 else {
            throw .database(.other, message: "no recording has the id \(id)")
        }
    }

    /// The rows that meet `condition`, in the order of their ids; the condition is the program's own text.
    mutating func recordings(
        where condition: StaticString
    ) throws(CatalogueError) -> [CatalogueRecording] {
        let rows = try run(
            """
            SELECT id, stream, title, path, container, status, started_at, ended_at, bytes, failure_reason
            FROM recordings WHERE \(condition) ORDER BY id
            """
        )
        return rows.compactMap { CatalogueRecording(row: $0) }
    }
}

extension CatalogueRecording {
    /// The recording in a row of all columns; `nil` for one that no recorder wrote.
    fileprivate init?(row: [SQLiteValue]) {
        guard row.count == 10, let id = row[0].asInteger, let stream = row[1].asText,
            let path = row[3].asText, let container = row[4].asText,
            let status = row[5].asText.flatMap({ Status(rawValue: $0) }),
            let startedAt = row[6].asText, let bytes = row[8].asInteger
        else { return nil }
        self.init(
            id: id,
            stream: stream,
            title: row[2].asText,
            path: path,
            container: container,
            status: status,
            startedAt: startedAt,
            endedAt: row[7].asText,
            bytes: Int(bytes),
            failureReason: row[9].asText
        )
    }
}
