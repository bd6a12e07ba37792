package import Media
package import Posix

/// A job of the catalogue: the conversion of one part to MP4.
package struct RemuxJob: Equatable, Sendable {
    /// The raw value is the catalogue's.
    package enum Status: String, CaseIterable, Sendable {
        case pending, running
        /// The output is complete and entered; the source is to be deleted.
        case deleting
        case done
        /// The last attempt failed.
        case failed
    }

    package let recordingID: Int64
    package let number: Int
    package let status: Status
    /// Attempts before this one.
    package let attempts: Int
    package let source: CataloguePart

    private static let maxAttempts = 5

    /// The pause after so many attempts: a minute, doubled with each attempt.
    private static func pause(after attempts: Int) -> Duration {
        .seconds(30 << max(1, min(attempts, 10)))
    }

    fileprivate func status(after outcome: RemuxOutcome) -> Status {
        switch outcome {
        case .produced(_, let deletesSource): deletesSource ? .deleting : .done
        case .sourceDeleted: .done
        case .cancelled: .pending
        case .failed: attempts < Self.maxAttempts - 1 ? .pending : .failed
        }
    }

    /// What the row of the job says after an attempt.
    fileprivate func row(
        after outcome: RemuxOutcome,
        at now: UTCTime
    ) -> (attempts: Int, dueAt: Int, problem: SQLiteValue) {
        let next = attempts.addingWithSaturation(1)
        switch outcome {
        case .cancelled: return (attempts, now.seconds, .null)
        case .produced, .sourceDeleted: return (next, now.seconds, .null)
        case .failed(let reason):
            let pause = Int(Self.pause(after: next).inSeconds)
            return (next, now.seconds.addingWithSaturation(pause), .text(reason))
        }
    }

    fileprivate var key: [SQLiteValue] { [.integer(recordingID), .integer(Int64(number))] }
}

/// How an attempt at a job ended.
package enum RemuxOutcome: Equatable, Sendable {
    /// The output is complete.
    case produced(StoredFile, deletesSource: Bool)
    case sourceDeleted
    /// A stop ended it; it does not count as an attempt.
    case cancelled
    case failed(String)
}

extension Catalogue {
    /// Makes the jobs of a run that was killed pending again.
    package func requeueJobs() throws(CatalogueError) {
        try transaction { (database) throws(CatalogueError) in
            _ = try database.run("UPDATE jobs SET status = 'pending' WHERE status = 'running'")
        }
    }

    /// Takes the job that has waited longest; it is `running` from then on, with one more attempt.
    package func takeJob(at now: UTCTime) throws(CatalogueError) -> RemuxJob? {
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
                // Retention has deleted it meanwhile.
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

    /// Enters how an attempt ended; the status of the job from then on.
    @discardableResult
    package func end(
        _ job: RemuxJob,
        _ outcome: RemuxOutcome,
        at now: UTCTime = UTCTime(.now())
    ) throws(CatalogueError) -> RemuxJob.Status {
        try transaction { (database) throws(CatalogueError) in
            switch outcome {
            case .produced(let output, _): try database.enter(output, of: job)
            case .sourceDeleted: try database.replaceSource(of: job)
            case .cancelled, .failed: break
            }
            let (status, row) = (job.status(after: outcome), job.row(after: outcome, at: now))
            try database.run(
                """
                UPDATE jobs SET status = ?, attempts = ?, due_at = ?, problem = ?
                WHERE recording_id = ? AND number = ?
                """,
                [
                    .text(status.rawValue), .integer(Int64(row.attempts)),
                    .integer(Int64(row.dueAt)), row.problem,
                ] + job.key
            )
            return status
        }
    }
}

extension SQLiteDatabase {
    /// Creates a job, unless there is one for this part.
    mutating func requestRemux(of recordingID: Int64, _ number: Int) throws(CatalogueError) {
        try run(
            """
            INSERT INTO jobs (recording_id, number, status) VALUES (?, ?, 'pending')
            ON CONFLICT DO NOTHING
            """,
            [.integer(recordingID), .integer(Int64(number))]
        )
    }

    fileprivate mutating func enter(
        _ output: StoredFile,
        of job: RemuxJob
    ) throws(CatalogueError) {
        try run(
            """
            UPDATE parts SET product_path = ?, product_bytes = ?
            WHERE recording_id = ? AND number = ?
            """,
            [.text(output.path), .integer(Int64(output.bytes))] + job.key
        )
    }

    /// Makes the output the file of the part.
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
}
