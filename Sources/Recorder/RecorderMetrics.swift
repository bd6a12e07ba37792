import Catalogue
import HLS
import Media
import Posix
import StreamVaultTelemetry

/// The recorder's metrics beside those of its run, all declared before anything happens.
struct RecorderMetrics: Sendable {
    let writtenBytes: Counter
    let mediaSegments: [MediaSegmentResult: Counter]
    let playlistErrors: [PlaylistFailure: Counter]
    let joinedParts: Counter
    let segmentMemory: Gauge
    let segmentWaits: Counter
    let finalizeDuration: Histogram
    let finalizeErrors: [FinalizeError.Reason: Counter]
    let recovered: [RecoveredFile.Label: Counter]
    let transactionDuration: Histogram
    let databaseErrors: [CatalogueError.Reason: Counter]
    let databaseUp: Gauge
    /// By what had happened to the catalogue's files.
    let databaseReopened: [CatalogueLoss: Counter]
    let diskFree: Gauge
    let diskSize: Gauge
    let diskReserve: Gauge
    let diskLevel: [DiskLevel: Gauge]
    /// By why none could begin.
    let refusedRecordings: [FinalizeError.Reason: Counter]
    /// Of recordings under way.
    let writeErrors: [FinalizeError.Reason: Counter]
    /// Files that somebody else removed, renamed or replaced while they were written.
    let lostParts: Counter
    let deletedFiles: [RetentionReason: Counter]
    let remuxJobs: [RemuxResult: Counter]
    /// By what had happened to the telemetry's file.
    let telemetryRepublished: [PublisherEvent.Cause: Counter]
    let wrongTokens: Counter
    let playlistDeviations: [PlaylistDeviation: Counter]
    let droppedBytes: Counter
    let refusedAddresses: Counter
    /// Processes that the commands of an earlier run had started.
    let leftoverPrograms: Counter
    let droppedLogLines: [LogOutputLabel: Counter]

    /// Where the log goes.
    enum LogOutputLabel: String, CaseIterable, Sendable {
        case stdout, file
    }

    /// How an attempt at a conversion ended.
    enum RemuxResult: String, CaseIterable, Sendable {
        case done, retried, failed
    }

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
        joinedParts = publisher.counter(
            "streamvault_joined_parts_total",
            "Breaks in a stream that began no part of their own, since parts came too fast."
        )
        segmentMemory = publisher.gauge(
            "streamvault_segment_memory_bytes",
            "Memory of HLS segments that are on their way or wait for those before them, of all streams.",
            unit: "bytes"
        )
        segmentWaits = publisher.counter(
            "streamvault_segment_waits_total",
            "HLS segments that waited for room in the memory of all streams."
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
            "Part files of earlier runs that the recovery finalized or discarded at a start.",
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
        databaseUp = publisher.gauge(
            "streamvault_database_up",
            "Whether the catalogue is kept in its file: 0 when it is in memory, for this run, or in a file without a name."
        )
        databaseReopened = counters(
            publisher,
            "database_reopened_total",
            "Times that the catalogue was opened again, by what had happened to its file.",
            "cause"
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
        diskReserve = publisher.gauge(
            "streamvault_disk_reserve_bytes",
            "Room kept back for the end of a full disk; 0 once it was released.",
            unit: "bytes"
        )
        let levels = DiskLevel.allCases.map { level in
            let gauge = publisher.gauge(
                "streamvault_disk_level",
                "How much room the recordings have: 1 at the level that holds.",
                labels: ["level": level.rawValue]
            )
            return (level, gauge)
        }
        diskLevel = Dictionary(uniqueKeysWithValues: levels)
        refusedRecordings = counters(
            publisher,
            "recordings_refused_total",
            "Recordings that did not begin, as there could be no file.",
            "reason"
        )
        writeErrors = counters(
            publisher,
            "recording_write_errors_total",
            "Writes that failed, and ended their recording.",
            "reason"
        )
        lostParts = publisher.counter(
            "streamvault_recording_lost_parts_total",
            "Files that were removed, renamed or replaced while they were being recorded."
        )
        deletedFiles = counters(
            publisher,
            "deleted_files_total",
            "Files of recordings that retention removed.",
            "reason"
        )
        telemetryRepublished = counters(
            publisher,
            "telemetry_republished_total",
            "Times that the telemetry was published in a new file, by what had happened to the file.",
            "cause"
        )
        remuxJobs = counters(
            publisher,
            "remux_jobs_total",
            "Attempts to convert a recording to MP4.",
            "result"
        )
        playlistDeviations = counters(
            publisher,
            "playlist_deviations_total",
            "Playlists and segments that were read although RFC 8216 does not allow what they contain.",
            "kind"
        )
        droppedBytes = publisher.counter(
            "streamvault_segment_dropped_bytes_total",
            "Bytes of transport stream segments that belonged to no packet and were not recorded."
        )
        refusedAddresses = publisher.counter(
            "streamvault_refused_addresses_total",
            "Requests that were not sent, since a playlist or redirect of a public origin named a private address."
        )
        leftoverPrograms = publisher.counter(
            "streamvault_leftover_programs_total",
            "Processes that commands of an earlier run had started, found running at a start, and ended."
        )
        wrongTokens = publisher.counter(
            "streamvault_wrong_tokens_total",
            "Requests to the API with a wrong bearer token."
        )
        droppedLogLines = counters(
            publisher,
            "log_dropped_lines_total",
            "Lines that the log dropped, because the output was full, blocked or failed.",
            "output"
        )
    }

    func count(_ report: TransactionReport) {
        transactionDuration.observe(report.nanoseconds)
        if let failure = report.failure { databaseErrors[failure]?.add() }
    }

    func show(_ warning: CatalogueWarning?) {
        switch warning {
        case .unusable: databaseUp.set(0)
        case .replaced, .withoutLog, nil: databaseUp.set(1)
        }
        if let reason = warning?.error.reason { databaseErrors[reason]?.add() }
    }

    func show(_ event: CatalogueFileEvent) {
        switch event {
        case .reopened(let loss):
            databaseReopened[loss]?.add()
            databaseUp.set(1)
        case .lost: databaseUp.set(0)
        case .restored: databaseUp.set(1)
        }
    }

    func count(dropped lines: (standardOutput: UInt64, file: UInt64)) {
        if lines.standardOutput > 0 { droppedLogLines[.stdout]?.add(lines.standardOutput) }
        if lines.file > 0 { droppedLogLines[.file]?.add(lines.file) }
    }

    func show(_ level: DiskLevel) {
        for (one, gauge) in diskLevel { gauge.set(one == level ? 1 : 0) }
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
