package import Media
package import Posix

/// A recording in the catalogue, in one or more parts.
package struct CatalogueRecording: Equatable, Sendable {
    /// The raw value is the catalogue's.
    package enum Status: String, CaseIterable, Sendable {
        case recording
        /// The stream ended, and its files are complete.
        case completed
        /// A stop or a crash ended it early; its files are complete as far as they go.
        case interrupted
        /// Its source or its disk failed; `failureReason` says why.
        case failed
        /// A shutdown had no time left to finalize it.
        case abandoned
    }

    package let id: Int64
    package let stream: String
    package let title: String?
    package let status: Status
    package let startedAt: UTCTime
    package let endedAt: UTCTime?
    /// The same moment on a clock that cannot be set, if it is known.
    package let endedBoot: BootStamp?
    package let failureReason: String?
    /// In order; never empty, except for a recording whose rows another program has removed.
    package var parts: [CataloguePart]

    package init(
        id: Int64,
        stream: String,
        title: String?,
        status: Status,
        startedAt: UTCTime,
        endedAt: UTCTime?,
        endedBoot: BootStamp? = nil,
        failureReason: String?,
        parts: [CataloguePart] = []
    ) {
        (self.id, self.stream, self.title, self.status) = (id, stream, title, status)
        (self.startedAt, self.endedAt, self.endedBoot) = (startedAt, endedAt, endedBoot)
        (self.failureReason, self.parts) = (failureReason, parts)
    }

    /// Bytes of all parts.
    package var bytes: Int { parts.reduce(0) { $0.addingWithSaturation($1.bytes) } }

    /// Bytes that its files take now.
    package var storedBytes: Int {
        parts.reduce(0) { sum, part in
            guard part.status != .deleted else { return sum }
            return sum.addingWithSaturation(part.bytes)
                .addingWithSaturation(part.output?.bytes ?? 0)
        }
    }

    /// Ids above this were not assigned by a recorder: a microsecond of the year 9999 is well below.
    static let maxID: Int64 = 1 << 62
}

/// One file of a recording.
package struct CataloguePart: Equatable, Sendable {
    /// The raw value is the catalogue's.
    package enum Status: String, CaseIterable, Sendable {
        case recording
        /// It has its final name, and as many bytes on the disk as its row says.
        case finished
        /// There is no file to play, or it could not be renamed to its final name.
        case failed
        /// Retention deleted the file.
        case deleted
    }

    package let recordingID: Int64
    /// From 1.
    package let number: Int
    /// Where the media is: while it is recorded, the part file.
    package let path: String
    package let container: String
    package let status: Status
    package let endedAt: UTCTime?
    package let bytes: Int
    package let failureReason: String?
    /// The file that it was converted to, as long as both exist.
    package let output: StoredFile?

    package init(
        recordingID: Int64,
        number: Int,
        path: String,
        container: String,
        status: Status,
        endedAt: UTCTime?,
        bytes: Int,
        failureReason: String? = nil,
        output: StoredFile? = nil
    ) {
        (self.recordingID, self.number, self.path) = (recordingID, number, path)
        (self.container, self.status, self.endedAt) = (container, status, endedAt)
        (self.bytes, self.failureReason, self.output) = (bytes, failureReason, output)
    }

    /// Its file, by its name: the directory may be mounted elsewhere than before.
    package func file(in directory: String) -> StoredFile {
        StoredFile(path: "\(directory)/\(lastPathComponent(path))", bytes: bytes)
    }

    /// All its files.
    package func files(in directory: String) -> [StoredFile] {
        guard let output else { return [file(in: directory)] }
        let path = "\(directory)/\(lastPathComponent(output.path))"
        return [file(in: directory), StoredFile(path: path, bytes: output.bytes)]
    }
}

/// A moment on a clock that cannot be set: two moments of the same boot can be compared exactly.
package struct BootStamp: Equatable, Sendable {
    /// The boot's id, in hexadecimal digits.
    package let boot: String
    package let time: BootTime

    package init(boot: String, time: BootTime) {
        (self.boot, self.time) = (boot, time)
    }

    /// `nil` where the kernel does not report the boot's id.
    package static func now() -> BootStamp? {
        currentBoot.map { BootStamp(boot: $0, time: .now()) }
    }

    /// Time since `earlier`, or zero; `nil` when that is of another boot.
    package func since(_ earlier: BootStamp) -> Duration? {
        boot == earlier.boot ? time.since(earlier.time) : nil
    }

    private static let currentBoot: String? = {
        let bytes = BootID.current().bytes
        guard bytes.contains(where: { $0 != 0 }) else { return nil }
        return bytes.map { String(Int($0) + 0x100, radix: 16).dropFirst() }.joined()
    }()
}

/// A change of the catalogue.
package enum CatalogueChange: Equatable, Sendable {
    case partStarted(PartStart)
    case partEnded(PartEnd)
    case recordingEnded(RecordingEnd)
    case partDeleted(PartDeletion)
    case remuxRequested(recordingID: Int64, number: Int)
}

/// The start of a part; that of the first is the start of its recording.
package struct PartStart: Equatable, Sendable {
    package var recordingID: Int64
    package var stream: String
    package var title: String?
    package var recordingStartedAt: UTCTime
    package var number: Int
    package var path: String
    package var container: MediaContainer
    package var startedAt: UTCTime

    package init(
        recordingID: Int64,
        stream: String,
        title: String? = nil,
        recordingStartedAt: UTCTime,
        number: Int,
        path: String,
        container: MediaContainer,
        startedAt: UTCTime
    ) {
        (self.recordingID, self.stream, self.title) = (recordingID, stream, title)
        (self.recordingStartedAt, self.number) = (recordingStartedAt, number)
        (self.path, self.container, self.startedAt) = (path, container, startedAt)
    }
}

/// The end of a part.
package struct PartEnd: Equatable, Sendable {
    package var recordingID: Int64
    package var number: Int
    package var status: CataloguePart.Status
    package var bytes: Int
    /// Where the file is now.
    package var path: String
    /// Why it failed: a reason of a closed set.
    package var failureReason: String?
    package var endedAt: UTCTime

    package init(
        recordingID: Int64,
        number: Int,
        status: CataloguePart.Status,
        bytes: Int,
        path: String,
        failureReason: String? = nil,
        endedAt: UTCTime
    ) {
        (self.recordingID, self.number, self.status) = (recordingID, number, status)
        (self.bytes, self.path) = (bytes, path)
        (self.failureReason, self.endedAt) = (failureReason, endedAt)
    }
}

/// The end of a recording.
package struct RecordingEnd: Equatable, Sendable {
    package var recordingID: Int64
    package var status: CatalogueRecording.Status
    package var failureReason: String?
    package var endedAt: UTCTime
    /// The same moment on a clock that cannot be set, if it is known.
    package var endedBoot: BootStamp?

    package init(
        recordingID: Int64,
        status: CatalogueRecording.Status,
        failureReason: String? = nil,
        endedAt: UTCTime,
        endedBoot: BootStamp? = nil
    ) {
        (self.recordingID, self.status, self.failureReason) = (recordingID, status, failureReason)
        (self.endedAt, self.endedBoot) = (endedAt, endedBoot)
    }
}

/// The deletion of a part's files by retention.
package struct PartDeletion: Equatable, Sendable {
    package var recordingID: Int64
    package var number: Int
    package var reason: RetentionReason
    package var at: UTCTime

    package init(recordingID: Int64, number: Int, reason: RetentionReason, at: UTCTime) {
        (self.recordingID, self.number, self.reason, self.at) = (recordingID, number, reason, at)
    }
}

/// Why retention deletes a recording; the raw value is the label of the metric.
package enum RetentionReason: String, CaseIterable, Sendable {
    case age, count, size
}

extension SQLiteDatabase {
    /// Applies a change; the same change a second time changes nothing more.
    mutating func apply(_ change: CatalogueChange) throws(CatalogueError) {
        switch change {
        case .partStarted(let start): try apply(start)
        case .partEnded(let end): try apply(end)
        case .recordingEnded(let end): try apply(end)
        case .partDeleted(let deletion): try apply(deletion)
        case .remuxRequested(let id, let number): try requestRemux(of: id, number)
        }
    }

    /// Enters a part, and with the first one its recording; a later part reopens the recording.
    private mutating func apply(_ part: PartStart) throws(CatalogueError) {
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

    private mutating func apply(_ end: PartEnd) throws(CatalogueError) {
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

    private mutating func apply(_ end: RecordingEnd) throws(CatalogueError) {
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

    private mutating func apply(_ deletion: PartDeletion) throws(CatalogueError) {
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
}

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

    /// The largest id that a recorder may have assigned; 0 without any.
    mutating func newestID() throws(CatalogueError) -> Int64 {
        let rows = try run(
            "SELECT max(id) FROM recordings WHERE id BETWEEN 1 AND ?",
            [.integer(CatalogueRecording.maxID)]
        )
        return rows.first?.first?.asInteger ?? 0
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
        let output = row[8].asText.flatMap { path in
            row[9].asInteger.map { StoredFile(path: path, bytes: Int($0)) }
        }
        self.init(
            recordingID: recordingID,
            number: Int(number),
            path: path,
            container: container,
            status: status,
            endedAt: row[5].asText.flatMap { UTCTime(iso8601: $0) },
            bytes: Int(bytes),
            failureReason: row[7].asText,
            output: output
        )
    }
}
