import Media
import Posix

/// The conversion of one part to MP4, as the catalogue keeps it.
struct RemuxJob: Equatable, Sendable {
    /// How a job stands; the raw value is the catalogue's.
    enum Status: String, CaseIterable, Sendable {
        case pending, running
        /// The product is whole and entered; the source is to go.
        case deleting
        case done
        /// Given up, after as many attempts as there may be.
        case failed
    }

    let recordingID: Int64
    let number: Int
    let status: Status
    /// Those that were begun before this one.
    let attempts: Int
    let source: CataloguePart

    static let mostAttempts = 5

    /// The pause after so many attempts: a minute, doubled each time.
    static func pause(after attempts: Int) -> Duration { .seconds(30 << max(1, min(attempts, 10))) }
}

/// How an attempt at a job ended.
enum RemuxOutcome: Equatable, Sendable {
    /// The product is whole; `deletesSource` when the source is to go.
    case produced(StoredFile, deletesSource: Bool)
    case sourceDeleted
    /// A stop cut it off: that was no attempt.
    case cancelled
    case failed(String)
}

extension Catalogue {
    /// Makes the jobs of a run that was killed wait again.
    func requeueJobs() throws(CatalogueError) {
        try transaction { (database) throws(CatalogueError) in
            _ = try database.run("UPDATE jobs SET status = 'pending' WHERE status = 'running'")
        }
    }

    /// Takes the job that has waited longest; it is running then, and an attempt more.
    func takeJob(at now: UTCTime) throws(CatalogueError) -> RemuxJob? {
        try transaction { (database) throws(CatalogueError) in
            let rows = try database.run(
                """
                SELECT recording_id, number, status, attempts FROM jobs
                WHERE status IN ('pending', 'deleting') AND due_at <= ?
                ORDER BY due_at, recording_id, number LIMIT 1
                """,
                [.integer(Int64(now.seconds))]
            )
            guard let row = rows.first, let id = row[0].asInteger, let number = row[1].asInteger,
                let status = row[2].asText.flatMap({ RemuxJob.Status(rawValue: $0) }),
                let attempts = row[3].asInteger
            else { return nil }
            let key: [SQLiteValue] = [.integer(id), .integer(number)]
            let parts = try database.parts(where: "recording_id = ? AND number = ?", key)
            guard let source = parts.first, source.status == .finished else {
                // Retention was faster.
                try database.run("DELETE FROM jobs WHERE recording_id = ? AND number = ?", key)
                return nil
            }
            if status == .pending {
                try database.run(
                    """
                    UPDATE jobs SET status = 'running', attempts = attempts + 1
                    WHERE recording_id = ? AND number = ?
                    """,
                    key
                )
            }
            return RemuxJob(
                recordingID: id,
                number: Int(number),
                status: status,
                attempts: Int(clamping: max(0, attempts)),
                source: source
            )
        }
    }

    /// Enters how an attempt ended; whether there will be another one.
    @discardableResult
    func end(
        _ job: RemuxJob,
        _ outcome: RemuxOutcome,
        at now: UTCTime = UTCTime(.now())
    ) throws(CatalogueError) -> RemuxJob.Status {
        try transaction { (database) throws(CatalogueError) in
            let status = job.status(after: outcome)
            switch outcome {
            case .produced(let product, _): try database.enter(product, of: job)
            case .sourceDeleted: try database.replaceSource(of: job)
            case .cancelled, .failed: break
            }
            try database.update(job, status, outcome, at: now)
            return status
        }
    }
}

extension RemuxJob {
    fileprivate func status(after outcome: RemuxOutcome) -> Status {
        switch outcome {
        case .produced(_, let deletesSource): deletesSource ? .deleting : .done
        case .sourceDeleted: .done
        case .cancelled: .pending
        case .failed: attempts < Self.mostAttempts - 1 ? .pending : .failed
        }
    }

    fileprivate var key: [SQLiteValue] { [.integer(recordingID), .integer(Int64(number))] }
}

extension SQLiteDatabase {
    /// Enters the wish for a conversion; a second one changes nothing.
    mutating func wantRemux(of recordingID: Int64, _ number: Int) throws(CatalogueError) {
        try run(
            """
            INSERT INTO jobs (recording_id, number, status) VALUES (?, ?, 'pending')
            ON CONFLICT DO NOTHING
            """,
            [.integer(recordingID), .integer(Int64(number))]
        )
    }

    fileprivate mutating func enter(
        _ product: StoredFile,
        of job: RemuxJob
    ) throws(CatalogueError) {
        try run(
            """
            UPDATE parts SET product_path = ?, product_bytes = ?
            WHERE recording_id = ? AND number = ?
            """,
            [.text(product.path), .integer(Int64(product.bytes))] + job.key
        )
    }

    /// The product is the part from now on.
    fileprivate mutating func replaceSource(of job: RemuxJob) throws(CatalogueError) {
        try run(
            """
            UPDATE parts SET path = product_path, bytes = product_bytes, container = 'mp4',
                product_path = NULL, product_bytes = NULL
            WHERE recording_id = ? AND number = ? AND product_path IS NOT NULL
            """,
            job.key
        )
    }

    fileprivate mutating func update(
        _ job: RemuxJob,
        _ status: RemuxJob.Status,
        _ outcome: RemuxOutcome,
        at now: UTCTime
    ) throws(CatalogueError) {
        var (attempts, dueAt, problem) = (
            job.attempts.addingClamped(1), now.seconds, SQLiteValue.null
        )
        switch outcome {
        case .cancelled: attempts = job.attempts
        case .failed(let reason):
            dueAt += Int(RemuxJob.pause(after: attempts).inSeconds)
            problem = .text(reason)
        case .produced, .sourceDeleted: break
        }
        try run(
            """
            UPDATE jobs SET status = ?, attempts = ?, due_at = ?, problem = ?
            WHERE recording_id = ? AND number = ?
            """,
            [
                .text(status.rawValue), .integer(Int64(attempts)), .integer(Int64(dueAt)), problem,
            ] + job.key
        )
    }
}
