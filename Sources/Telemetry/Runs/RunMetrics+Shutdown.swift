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
        "Shutdowns by outcome; degraded: a phase failed or ran out of time; killed: the process died in it.",
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
