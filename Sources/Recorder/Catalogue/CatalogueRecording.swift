import Posix

/// A recording as the catalogue keeps it.
struct CatalogueRecording: Equatable, Sendable {
    /// How a recording stands; the raw value is the catalogue's.
    enum Status: String, CaseIterable, Sendable {
        case recording
        /// The stream ended, and the file is whole.
        case completed
        /// A stop or a crash cut it short; the file is whole as far as it goes.
        case interrupted
        /// There is no file to play, or it could not be brought to its final name.
        case failed
        /// A shutdown ran out of time for it.
        case abandoned
    }

    let id: Int64
    let stream: String
    let title: String?
    /// Where the media is: while it is recorded, the part file.
    private(set) var path: String
    let container: String
    private(set) var status: Status
    /// UTC, `2026-11-23T10:45:00Z`.
    let startedAt: String
    private(set) var endedAt: String?
    private(set) var bytes: Int
    private(set) var failureReason: String?

    /// The recording after `end`.
    func ended(_ end: RecordingEnd) -> CatalogueRecording {
        var ended = self
        (ended.status, ended.path, ended.bytes) = (end.status, end.path, end.bytes)
        (ended.endedAt, ended.failureReason) = (end.endedAt.iso8601, end.failureReason)
        return ended
    }
}

/// What is known when a recording starts.
struct NewRecording: Sendable {
    var stream: String
    var title: String?
    var path: String
    var container: MediaContainer
    var startedAt: UTCTime
}

/// What is known when a recording has ended.
struct RecordingEnd: Sendable {
    var status: CatalogueRecording.Status
    var bytes: Int
    /// Where the file is now.
    var path: String
    /// Why it failed: one of the closed set of reasons.
    var failureReason: String?
    var endedAt: UTCTime
}

/// One transaction, for the metrics.
struct TransactionReport: Equatable, Sendable {
    let nanoseconds: UInt64
    /// `nil` when it was committed.
    let failure: CatalogueError.Reason?
}
