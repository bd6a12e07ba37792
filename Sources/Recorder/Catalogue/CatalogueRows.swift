import Media
import Posix

extension SQLiteDatabase {
    /// The recordings that meet `condition`, with all their parts, in the order of their ids.
    ///
    /// The condition is the program's own text; `bindings` are its values.
    mutating func recordings(
        where condition: StaticString,
        _ bindings: [SQLiteValue] = []
    ) throws(CatalogueError) -> [CatalogueRecording] {
        let rows = try run(
            """
            SELECT id, stream, title, status, started_at, ended_at, failure_reason, ended_boot,
                ended_boottime
            FROM recordings WHERE \(condition) ORDER BY id
            """,
            bindings
        )
        var recordings: [CatalogueRecording] = []
        for row in rows {
            guard var recording = CatalogueRecording(row: row) else { continue }
            recording.parts = try parts(where: "recording_id = ?", [.integer(recording.id)])
            recordings.append(recording)
        }
        return recordings
    }

    /// The parts that meet `condition`, in the order of their recordings and numbers.
    mutating func parts(
        where condition: StaticString,
        _ bindings: [SQLiteValue] = []
    ) throws(CatalogueError) -> [CataloguePart] {
        let rows = try run(
            """
            SELECT recording_id, number, path, container, status, ended_at, bytes, failure_reason,
                product_path, product_bytes
            FROM parts WHERE \(condition) ORDER BY recording_id, number
            """,
            bindings
        )
        return rows.compactMap { CataloguePart(row: $0) }
    }
}

extension CatalogueRecording {
    /// The recording in a row of all columns; `nil` for one that no recorder wrote.
    fileprivate init?(row: [SQLiteValue]) {
        guard row.count == 9, let id = row[0].asInteger, let stream = row[1].asText,
            let status = row[3].asText.flatMap({ Status(rawValue: $0) }),
            let startedAt = row[4].asText.flatMap({ UTCTime(iso8601: $0) })
        else { return nil }
        self.init(
            id: id,
            stream: stream,
            title: row[2].asText,
            status: status,
            startedAt: startedAt,
            endedAt: row[5].asText.flatMap { UTCTime(iso8601: $0) },
            endedBoot: row[7].asText.flatMap { boot in
                row[8].asInteger.map {
                    BootStamp(boot: boot, time: BootTime(nanoseconds: UInt64(clamping: $0)))
                }
            },
            failureReason: row[6].asText
        )
    }
}

extension CataloguePart {
    /// The part in a row of all columns; `nil` for one that no recorder wrote.
    fileprivate init?(row: [SQLiteValue]) {
        guard row.count == 10, let recordingID = row[0].asInteger, let number = row[1].asInteger,
            let path = row[2].asText, let container = row[3].asText,
            let status = row[4].asText.flatMap({ Status(rawValue: $0) }),
            let bytes = row[6].asInteger
        else { return nil }
        self.init(
            recordingID: recordingID,
            number: Int(number),
            path: path,
            container: container,
            status: status,
            endedAt: row[5].asText.flatMap { UTCTime(iso8601: $0) },
            bytes: Int(bytes),
            failureReason: row[7].asText
        )
        if let path = row[8].asText, let bytes = row[9].asInteger {
            product = StoredFile(path: path, bytes: Int(bytes))
        }
    }
}
