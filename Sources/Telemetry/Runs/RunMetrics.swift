/// The families that every segment has, because they say how the run itself goes.
///
/// Nobody counts into their cells while a run lives. The cells hold what earlier runs left; the current run's part is
/// derived from its records by whoever reads (`RunCells`), so that no death can come between a fact and its count.
package enum RunMetrics {
    static let runStates = ShownState.allCases.map { "\($0)" }
    static let recordingResults = RecordingResult.allCases.map(\.rawValue) + ["abandoned"]
    static let phaseOutcomes = PhaseOutcome.allCases.map { "\($0)" } + ["killed"]
    static let shutdownOutcomes = ["clean", "degraded", "killed"]
    static let lastOutcomes = RunEnd.allCases.map(\.label)

    /// Upper bounds of the histograms of shutdowns and of their phases: 1 ms to 120 s.
    package static let durationBounds: [UInt64] = [
        1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 15_000, 20_000, 25_000,
        30_000, 45_000, 60_000, 90_000, 120_000,
    ].map { $0 * 1_000_000 }

    /// Families with the label values that are known before anything has happened.
    static func families(phases: [String]) -> [(MetricFamily, series: [[String]])] {
        alone.map { ($0, [[]]) }
            + [
                (recorderState, runStates.map { [$0] }),
                (recordingsFinished, recordingResults.map { [$0] }),
                (shutdowns, shutdownOutcomes.map { [$0] }),
                (lastShutdownOutcome, lastOutcomes.map { [$0] }),
                (phaseActive, phases.map { [$0] }),
                (phaseElapsed, phases.map { [$0] }),
                (phaseBudget, phases.map { [$0] }),
                (phaseDuration, phases.map { [$0] }),
                (lastPhaseDuration, phases.map { [$0] }),
                (shutdownPhases, phases.flatMap { phase in phaseOutcomes.map { [phase, $0] } }),
            ] + perRecording.map { ($0, []) }
    }

    private static let alone = [
        recorderUp, recorderStart, recorderHeartbeat, recorderRuns, recordingsActive,
        recordingsFinalizing, recordingsStarted, shutdownInProgress, shutdownGracePeriod,
        shutdownDeadline, shutdownStart, shutdownDuration, crashes, lastShutdownTime,
        lastShutdownDuration, lastShutdownGraceUsed, lastShutdownAbandoned, refusedDeclarations,
    ]
    static let perRecording = [recordingStart, recordingLastWrite, recordingBytes]

    /// The families that every segment has, by name: no segment may give another shape to one of these names.
    package static let fixedFamilies = Dictionary(
        uniqueKeysWithValues: (families(phases: []).map(\.0) + [recorderInfo]).map {
            ($0.name, $0)
        }
    )

    /// Whether a reader makes the series of `family` from the recordings that are open.
    static func areDerived(seriesOf family: MetricFamily) -> Bool {
        perRecording.contains { $0.name == family.name && $0.hasShape(of: family) }
    }

    static let recorderInfo = MetricFamily(
        name: "streamvault_recorder_info",
        help: "The recorder's version.",
        kind: .info,
        labels: ["version"]
    )
    package static let recorderUp = gauge("recorder_up", "1 while the recorder's process lives.")
    static let recorderStart = time("recorder_start_time_seconds", "When this run started.")
    static let recorderHeartbeat = time(
        "recorder_heartbeat_timestamp_seconds",
        "Last sign of life from the loop that does the work."
    )
    static let recorderState = stateset("recorder_state", "What the recorder is doing.")
    static let recorderRuns = counter("recorder_runs_total", "Starts of the recorder.")
    static let recordingsActive = gauge("recordings_active", "Recordings that are being written.")
    static let recordingsFinalizing = gauge(
        "recordings_finalizing",
        "Recordings whose files are being finalized."
    )
    static let recordingsStarted = counter("recordings_started_total", "Recordings started.")
    static let recordingsFinished = counter(
        "recordings_finished_total",
        "Recordings that ended; abandoned: open when the recorder's process ended.",
        labels: ["result"]
    )
    static let recordingStart = time(
        "recording_start_time_seconds",
        "When the stream's recording started.",
        labels: ["stream"]
    )
    static let recordingLastWrite = time(
        "recording_last_write_timestamp_seconds",
        "When media was last written.",
        labels: ["stream"]
    )
    static let recordingBytes = gauge(
        "recording_written_bytes",
        "Media written by the stream's recording.",
        unit: "bytes",
        labels: ["stream"]
    )
    static let refusedDeclarations = counter(
        "telemetry_refused_declarations_total",
        "Metrics and recordings that found no room in the telemetry segment."
    )
}
