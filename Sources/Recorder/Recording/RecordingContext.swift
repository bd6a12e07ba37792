import Fetch
import Posix
import StreamVaultTelemetry

/// What all recordings of a recorder share.
struct RecordingContext: Sendable {
    let directory: String
    let syncInterval: Duration
    /// Time that a source gets to end, once it is asked to; what is left of the phase is for its file.
    let sourcePatience: Duration
    /// Private addresses that playlists of a public origin may name.
    var addressExceptions = AddressExceptions()
    /// Of all HLS streams together.
    var segmentMemory = SegmentMemory()
    let publisher: Publisher
    let metrics: RecorderMetrics
    let catalogue: Catalogue
    let journal: CatalogueJournal
    let continuations: Continuations
    let disk: DiskGuard
    /// Whether transport streams are converted to MP4 afterwards.
    let wantsRemux: Bool
    let log: Log
    /// Tells the main thread that something changed.
    let wakeup: Wakeup
    /// Told at once, on the recording's thread; must not block.
    let report: @Sendable (RecordingEvent) -> Void
}
