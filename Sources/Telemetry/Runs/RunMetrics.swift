/// The families that every segment has: they describe the run itself.
///
/// Their cells hold the values of earlier runs and do not change during a run. A reader adds the current run's part, which it
/// derives from the records (`RunCells`). So an event and its count are one write, and a killed process cannot separate them.
package enum RunMetrics {
    static let runStates = ObservedState.allCases.map { "\($0)" }
    static let recordingResults = RecordingResult.allCases.map(\.rawValue) + ["abandoned"]
    static let phaseOutcomes = PhaseOutcome.allCases.map { "\($0)" } + ["killed"]
    static let shutdownOutcomes = ["clean", "degraded", "killed"]
    static let lastOutcomes = RunOutcome.allCases.map(\.label)

    /// Upper bounds of the histograms of shutdowns and of their phases: 1 ms to 120 s.
    package static let durationBounds: [UInt64] = [
        1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 15_000, 20_000, 25_000,
        30_000, 45_000, 60_000, 90_000, 120_000,
    ].map { $0 * 1_000_000 }

    /// All of them, with the label values that are known at the start of a run.
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
        lastShutdownDuration, lastShutdownGraceUsed, lastShutdownAbandoned, rejectedDeclarations,
    ]
    static let perRecording = [recordingStart, recordingLastWrite, recordingBytes]

    /// All of them by name; no segment may declare one of these names with another shape.
    package static let fixedFamilies = Dictionary(
        uniqueKeysWithValues: (families(phases: []).map(\.0) + [recorderInfo]).map {
            ($0.name, $0)
        }
    )

    /// Whether the series of `family` are derived from the open recordings.
    static func areDerived(seriesOf family: MetricFamily) -> Bool {
        perRecording.contains { $0.name == family.name && $0.hasShape(of: family) }
    }

    static let recorderInfo = MetricFamily(
        name: "streamvault_recorder_info",
        help: "The recorder's version.",
        kind: .info,
        labels: ["version"]
    )
    package static let recorderUp = gauge(
        "recorder_up",
        "1 while the recorder's process is running."
    )
    static let recorderStart = time("recorder_start_time_seconds", "When this run started.")
    static let recorderHeartbeat = time(
        "recorder_heartbeat_timestamp_seconds",
        "Last heartbeat of the recorder's main loop."
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
    static let rejectedDeclarations = counter(
        "telemetry_refused_declarations_total",
        "Metrics and recordings for which the telemetry segment had no room."
    )
}

extension RunMetrics {
    static let shutdownInProgress = gauge(
        "shutdown_in_progress",
        "1 from the request for a shutdown to the end of the process."
    )
    static let shutdownGracePeriod = seconds(
        "shutdown_grace_period_seconds",
        "Grace period of the running shutdown; 0 without one."
    )
    static let shutdownDeadline = time(
        "shutdown_deadline_timestamp_seconds",
        "When the grace period of the running shutdown ends; 0 without one."
    )
    static let shutdownStart = time(
        "shutdown_start_timestamp_seconds",
        "When the running shutdown was requested; 0 without one."
    )
    static let phaseActive = gauge(
        "shutdown_phase_active",
        "1 for the current phase of the running shutdown.",
        labels: ["phase"]
    )
    static let phaseElapsed = seconds(
        "shutdown_phase_elapsed_seconds",
        "Time that the running shutdown has spent in the phase.",
        labels: ["phase"]
    )
    static let phaseBudget = seconds(
        "shutdown_phase_budget_seconds",
        "Time limit of the phase, in the running shutdown or in the next one.",
        labels: ["phase"]
    )
    static let phaseDuration = durations(
        "shutdown_phase_duration_seconds",
        "Durations of phases that ended, with any outcome; not of a phase in which the process was killed.",
        labels: ["phase"]
    )
    static let shutdownPhases = counter(
        "shutdown_phases_total",
        "Phases of shutdowns by outcome; killed: the process was killed in this phase.",
        labels: ["phase", "outcome"]
    )
    static let shutdownDuration = durations(
        "shutdown_duration_seconds",
        "Durations of shutdowns from the request to the exit; not of shutdowns in which the process was killed."
    )
    static let shutdowns = counter(
        "shutdowns_total",
        "Shutdowns by outcome; degraded: a phase failed or exceeded its time limit, or a start failed; killed: the process was killed.",
        labels: ["outcome"]
    )
    static let crashes = counter("crashes_total", "Runs that ended without a shutdown.")
    static let lastShutdownTime = time(
        "last_shutdown_timestamp_seconds",
        "When the last shutdown was requested; the last heartbeat if the run crashed."
    )
    static let lastShutdownDuration = seconds(
        "last_shutdown_duration_seconds",
        "Duration of the last shutdown; until the last heartbeat if the process was killed."
    )
    static let lastShutdownGraceUsed = gauge(
        "last_shutdown_grace_used_ratio",
        "Fraction of the grace period that the last shutdown used.",
        unit: "ratio",
        encoding: .double
    )
    static let lastShutdownAbandoned = gauge(
        "last_shutdown_abandoned_recordings",
        "Recordings that were open when the last run ended."
    )
    static let lastPhaseDuration = seconds(
        "last_shutdown_phase_duration_seconds",
        "Duration of each phase of the last shutdown; until the last heartbeat if the process was killed in it.",
        labels: ["phase"]
    )
    static let lastShutdownOutcome = stateset(
        "last_shutdown_outcome",
        "How the last run ended."
    )
}

extension RunMetrics {
    static func counter(_ name: String, _ help: String, labels: [String] = []) -> MetricFamily {
        MetricFamily(name: prefix + name, help: help, kind: .counter, labels: labels)
    }

    static func gauge(
        _ name: String,
        _ help: String,
        unit: String = "",
        labels: [String] = [],
        encoding: MetricFamily.Encoding = .integer
    ) -> MetricFamily {
        var family = MetricFamily(name: prefix + name, help: help, kind: .gauge)
        (family.unit, family.labels, family.encoding) = (unit, labels, encoding)
        return family
    }

    /// A gauge in nanoseconds, exposed in seconds.
    static func seconds(_ name: String, _ help: String, labels: [String] = []) -> MetricFamily {
        MetricFamily(
            name: prefix + name,
            help: help,
            kind: .gauge,
            scale: nanosecondsPerSecond,
            unit: "seconds",
            labels: labels
        )
    }

    /// A gauge in nanoseconds since 1970, exposed in seconds.
    static func time(_ name: String, _ help: String, labels: [String] = []) -> MetricFamily {
        seconds(name, help, labels: labels)
    }

    static func durations(_ name: String, _ help: String, labels: [String] = []) -> MetricFamily {
        durations(named: prefix + name, help, bounds: durationBounds, labels: labels)
    }

    /// A histogram in nanoseconds, exposed in seconds, with the buckets of `bounds` and exponential ones.
    static func durations(
        named name: String,
        _ help: String,
        bounds: [UInt64],
        labels: [String]
    ) -> MetricFamily {
        MetricFamily(
            name: name,
            help: help,
            kind: .histogram,
            scale: nanosecondsPerSecond,
            unit: "seconds",
            labels: labels,
            bounds: bounds,
            exponential: ExponentialBuckets(around: bounds, scale: nanosecondsPerSecond)
        )
    }

    /// One series per state; the state is the value of the label that has the family's name (OpenMetrics 1.0, StateSet).
    static func stateset(_ name: String, _ help: String) -> MetricFamily {
        MetricFamily(name: prefix + name, help: help, kind: .stateset, labels: [prefix + name])
    }

    private static let prefix = "streamvault_"
    private static let nanosecondsPerSecond: UInt64 = 1_000_000_000
}
