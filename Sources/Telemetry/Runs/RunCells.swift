/// Where the cells of the run's own families are in a segment; `nil` for those that it does not have.
struct RunCells: Sendable {
    let up, start, heartbeat, runs, refused: Int?
    let active, finalizing, started: Int?
    let inProgress, gracePeriod, deadline, requested, duration, crashes: Int?
    let lastTime, lastDuration, lastGraceUsed, lastAbandoned: Int?
    /// In the order of `RunMetrics`' lists of label values.
    let states, results, shutdowns, lastOutcomes: [Int?]
    let phases: [Phase]
    /// The last shutdown may have had other phases than the one that is declared now.
    let lastPhases: [(name: String, cell: Int?)]

    /// The cells of one phase.
    struct Phase: Sendable {
        let active, elapsed, budget, duration: Int?
        let outcomes: [Int?]
    }

    init(_ families: [MetricFamily], _ series: [SegmentContents.Series], phases: [PhaseRecord]) {
        let index = CellIndex(families, series)
        up = index[RunMetrics.recorderUp]
        start = index[RunMetrics.recorderStart]
        heartbeat = index[RunMetrics.recorderHeartbeat]
        runs = index[RunMetrics.recorderRuns]
        refused = index[RunMetrics.refusedDeclarations]
        active = index[RunMetrics.recordingsActive]
        finalizing = index[RunMetrics.recordingsFinalizing]
        started = index[RunMetrics.recordingsStarted]
        inProgress = index[RunMetrics.shutdownInProgress]
        gracePeriod = index[RunMetrics.shutdownGracePeriod]
        deadline = index[RunMetrics.shutdownDeadline]
        requested = index[RunMetrics.shutdownStart]
        duration = index[RunMetrics.shutdownDuration]
        crashes = index[RunMetrics.crashes]
        lastTime = index[RunMetrics.lastShutdownTime]
        lastDuration = index[RunMetrics.lastShutdownDuration]
        lastGraceUsed = index[RunMetrics.lastShutdownGraceUsed]
        lastAbandoned = index[RunMetrics.lastShutdownAbandoned]
        states = RunMetrics.runStates.map { index[RunMetrics.recorderState, $0] }
        results = RunMetrics.recordingResults.map { index[RunMetrics.recordingsFinished, $0] }
        shutdowns = RunMetrics.shutdownOutcomes.map { index[RunMetrics.shutdowns, $0] }
        lastOutcomes = RunMetrics.lastOutcomes.map { index[RunMetrics.lastShutdownOutcome, $0] }
        self.phases = phases.map { phase in
            Phase(
                active: index[RunMetrics.phaseActive, phase.name],
                elapsed: index[RunMetrics.phaseElapsed, phase.name],
                budget: index[RunMetrics.phaseBudget, phase.name],
                duration: index[RunMetrics.phaseDuration, phase.name],
                outcomes: RunMetrics.phaseOutcomes.map {
                    index[RunMetrics.shutdownPhases, phase.name, $0]
                }
            )
        }
        lastPhases = index.series(of: RunMetrics.lastPhaseDuration)
    }
}

/// Finds a series' first word by family and label values.
private struct CellIndex {
    private var cells: [String: [SeriesKey: Int]] = [:]

    init(_ families: [MetricFamily], _ series: [SegmentContents.Series]) {
        let known = Dictionary(
            uniqueKeysWithValues: RunMetrics.families(phases: []).map { ($0.0.name, $0.0) }
        )
        for one in series {
            let family = families[one.family]
            // A publisher of another version may mean something else by a name.
            guard known[family.name]?.hasShape(of: family) == true else { continue }
            cells[family.name, default: [:]][SeriesKey(family: 0, values: one.values)] = one.word
        }
    }

    subscript(family: MetricFamily, values: String...) -> Int? {
        cells[family.name]?[SeriesKey(family: 0, values: values)]
    }

    func series(of family: MetricFamily) -> [(name: String, cell: Int?)] {
        (cells[family.name] ?? [:]).filter { $0.key.values.count == 1 }
            .map { ($0.key.values[0], $0.value) }
    }
}
