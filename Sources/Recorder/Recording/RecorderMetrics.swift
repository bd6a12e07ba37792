import Posix
import StreamVaultTelemetry

/// The recorder's metrics beside those of its run, all declared before anything happens.
struct RecorderMetrics: Sendable {
    let writtenBytes: Counter
    let mediaSegments: [MediaSegmentResult: Counter]
    let playlistErrors: [PlaylistFailure: Counter]
    let finalizeDuration: Histogram
    let finalizeErrors: [FinalizeError.Reason: Counter]
    let recovered: [RecoveredFile.Label: Counter]
    let transactionDuration: Histogram
    let databaseErrors: [CatalogueError.Reason: Counter]
    let diskFree: Gauge
    let diskSize: Gauge

    /// What became of a media segment that a playlist announced.
    enum MediaSegmentResult: String, CaseIterable, Sendable {
        case written, missed
    }

    init(_ publisher: Publisher) {
        writtenBytes = publisher.counter(
            "streamvault_written_bytes_total",
            "Media written to files."
        )
        mediaSegments = counters(publisher, "media_segments_total", "Media segments.", "result")
        playlistErrors = counters(
            publisher,
            "playlist_errors_total",
            "Loads of playlists that failed.",
            "reason"
        )
        finalizeDuration = publisher.histogram(
            "streamvault_finalize_duration_seconds",
            "Time to bring a recording's file to its final name."
        )
        finalizeErrors = counters(
            publisher,
            "finalize_errors_total",
            "Files that could not be brought to their final name.",
            "reason"
        )
        recovered = counters(
            publisher,
            "recovered_recordings_total",
            "Files of earlier runs that were taken up at a start.",
            "result"
        )
        transactionDuration = publisher.histogram(
            "streamvault_database_transaction_duration_seconds",
            "Time of a transaction of the catalogue."
        )
        databaseErrors = counters(
            publisher,
            "database_errors_total",
            "Transactions of the catalogue that failed.",
            "reason"
        )
        diskFree = publisher.gauge(
            "streamvault_disk_free_bytes",
            "Room left for recordings.",
            unit: "bytes"
        )
        diskSize = publisher.gauge(
            "streamvault_disk_size_bytes",
            "Size of the file system with the recordings.",
            unit: "bytes"
        )
    }

    func count(_ report: TransactionReport) {
        transactionDuration.observe(report.nanoseconds)
        if let failure = report.failure { databaseErrors[failure]?.add() }
    }

    func count(_ event: SourceEvent) {
        switch event {
        case .segmentWritten: mediaSegments[.written]?.add()
        case .segmentsMissed(let count): mediaSegments[.missed]?.add(UInt64(clamping: count))
        case .playlistFailed(let failure): playlistErrors[failure]?.add()
        case .sequenceReset, .variantChosen: break
        }
    }

    func show(_ space: DiskSpace) {
        diskFree.set(Double(space.freeBytes))
        diskSize.set(Double(space.sizeBytes))
    }
}

/// One counter for each value of a closed set.
private func counters<Value: RawRepresentable<String> & CaseIterable & Hashable>(
    _ publisher: Publisher,
    _ name: String,
    _ help: String,
    _ label: String
) -> [Value: Counter] {
    let all = Value.allCases.map { value in
        (value, publisher.counter("streamvault_" + name, help, labels: [label: value.rawValue]))
    }
    return Dictionary(uniqueKeysWithValues: all)
}
