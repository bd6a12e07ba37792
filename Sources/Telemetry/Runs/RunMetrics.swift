/// The families that every segment has, because they say how the run itself goes.
///
/// Nobody counts into their cells while a run lives. The cells hold what earlier runs left; the current run's part is
/// derived from its records by whoever reads (`RunCells`), so that no death can come between a fact and its count.
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
        lastShutdownDuration, lastShutdownGraceUsed, lastShutdownAbandoned, rejectedDeclarations,
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
    static let rejectedDeclarations = counter(
        "telemetry_refused_declarations_total",
        "Metrics and recordings that found no room in the telemetry segment."
    )
}

extension RunMetrics {
    static let shutdownInProgress = gauge(
        "shutdown_in_progress",
        "1 from the request for a shutdown to the end of the process."
    )
    static let shutdownGracePeriod = seconds(
        "shutdown_grace_period_seconds",
        "Time granted to the shutdown that is running; 0 without one."
    )
    static let shutdownDeadline = time(
        "shutdown_deadline_timestamp_seconds",
        "When the time granted to the running shutdown ends; 0 without one."
    )
    static let shutdownStart = time(
        "shutdown_start_timestamp_seconds",
        "When the running shutdown was asked for; 0 without one."
    )
    static let phaseActive = gauge(
        "shutdown_phase_active",
        "1 for the phase in which the shutdown is.",
        labels: ["phase"]
    )
    static let phaseElapsed = seconds(
        "shutdown_phase_elapsed_seconds",
        "Time spent in the phase by the running shutdown; grows while it runs.",
        labels: ["phase"]
    )
    static let phaseBudget = seconds(
        "shutdown_phase_budget_seconds",
        "Time after which the phase is left behind; as cut for the running shutdown, or as it would be cut.",
        labels: ["phase"]
    )
    static let phaseDuration = durations(
        "shutdown_phase_duration_seconds",
        "Durations of the phases that ended, whatever their outcome; one cut off by death has none.",
        labels: ["phase"]
    )
    static let shutdownPhases = counter(
        "shutdown_phases_total",
        "Phases of shutdowns by outcome; killed: the process died in it.",
        labels: ["phase", "outcome"]
    )
    static let shutdownDuration = durations(
        "shutdown_duration_seconds",
        "Durations of the shutdowns that ended by themselves, from the request to the exit."
    )
    static let shutdowns = counter(
        "shutdowns_total",
        "Shutdowns by outcome; degraded: a phase failed or ran out of time, or a start failed; killed: the process died in it.",
        labels: ["outcome"]
    )
    static let crashes = counter("crashes_total", "Runs that died without a shutdown.")
    static let lastShutdownTime = time(
        "last_shutdown_timestamp_seconds",
        "When the last run that ended was asked to stop; its last sign of life if it crashed."
    )
    static let lastShutdownDuration = seconds(
        "last_shutdown_duration_seconds",
        "Duration of the last shutdown; up to the last sign of life if it was killed."
    )
    static let lastShutdownGraceUsed = gauge(
        "last_shutdown_grace_used_ratio",
        "Share of its grace period that the last shutdown took.",
        unit: "ratio",
        encoding: .double
    )
    static let lastShutdownAbandoned = gauge(
        "last_shutdown_abandoned_recordings",
        "Recordings that were open when the last run ended."
    )
    static let lastPhaseDuration = seconds(
        "last_shutdown_phase_duration_seconds",
        "Duration of each phase of the last shutdown; up to the last sign of life if killed in it.",
        labels: ["phase"]
    )
    static let lastShutdownOutcome = stateset(
        "last_shutdown_outcome",
        "How the last run that is over ended."
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

    /// Nanoseconds, shown as seconds.
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

    /// Nanoseconds since 1970, shown as seconds.
    static func time(_ name: String, _ help: String, labels: [String] = []) -> MetricFamily {
        seconds(name, help, labels: labels)
    }

    static func durations(_ name: String, _ help: String, labels: [String] = []) -> MetricFamily {
        durations(named: prefix + name, help, bounds: durationBounds, labels: labels)
    }

    /// A histogram of nanoseconds, shown as seconds, with exponential buckets beside those of `bounds`.
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

    /// One series a state, with the state as the value of a label named like the family (OpenMetrics 1.0, StateSet).
    static func stateset(_ name: String, _ help: String) -> MetricFamily {
        MetricFamily(name: prefix + name, help: help, kind: .stateset, labels: [prefix + name])
    }

    private static let prefix = "streamvault_"
    private static let nanosecondsPerSecond: UInt64 = 1_000_000_000
}
