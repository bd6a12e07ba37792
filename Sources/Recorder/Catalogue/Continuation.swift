import Posix

/// A recording that was cut short, and may go on as its next part.
struct Continuation: Equatable, Sendable {
    let recordingID: Int64
    let stream: String
    let startedAt: UTCTime
    let endedAt: UTCTime
    /// The number of the part that comes next.
    let nextPart: Int
}

extension Catalogue {
    /// The last recording of each stream, where it was cut short at `oldest` or later.
    func continuations(since oldest: UTCTime) throws(CatalogueError) -> [Continuation] {
        let recordings = try reading { (database) throws(CatalogueError) in
            try database.recordings(
                where: """
                    ended_at >= ? AND status IN ('interrupted', 'failed') AND id = (
                        SELECT max(other.id) FROM recordings AS other
                        WHERE other.stream = recordings.stream
                    )
                    """,
                [.text(oldest.iso8601)]
            )
        }
        return recordings.compactMap { $0.continuation }
    }
}

extension CatalogueRecording {
    fileprivate var continuation: Continuation? {
        guard let endedAt, let last = parts.last else { return nil }
        return Continuation(
            recordingID: id,
            stream: stream,
            startedAt: startedAt,
            endedAt: endedAt,
            nextPart: last.number + 1
        )
    }
}
