import Posix

/// A recording that was cut short, and may go on as its next part.
struct Continuation: Equatable, Sendable {
    let recordingID: Int64
    let stream: String
    let startedAt: UTCTime
    let endedAt: UTCTime
    /// The same on a clock that is never set, where that is known.
    var endedBoot: BootStamp?
    /// The number of the part that comes next.
    let nextPart: Int
}

extension Catalogue {
    /// The last recording of each stream, where it was cut short.
    func continuations() throws(CatalogueError) -> [Continuation] {
        let recordings = try reading { (database) throws(CatalogueError) in
            try database.recordings(
                where: """
                    status IN ('interrupted', 'failed') AND id IN (
                        SELECT max(other.id) FROM recordings AS other GROUP BY other.stream
                    )
                    """
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
            endedBoot: endedBoot,
            nextPart: last.number.addingClamped(1)
        )
    }
}
