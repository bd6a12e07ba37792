import Posix

/// The cells of the families in `RunMetrics`, as word indexes; `nil` for series that the segment does not have.
struct RunCells: Sendable {
    let up: Int?
    private let start, heartbeat, runs, rejected: Int?
    private let active, finalizing, started: Int?
    private let inProgress, gracePeriod, deadline, requested, duration, crashes: Int?
    private let lastTime, lastDuration, lastGraceUsed, lastAbandoned: Int?
    /// In the order of `RunMetrics`' lists of label values.
    private let states, results, shutdowns, lastOutcomes: [Int?]
    private let phases: [PhaseCells]
    /// Apart from `phases`, because the last shutdown may have had other phases than this run declares.
    private let lastPhases: [(name: String, cell: Int?)]

    /// The cells of one phase.
    private struct PhaseCells: Sendable {
        let active, elapsed, budget, duration: Int?
        let outcomes: [Int?]
    }

    init(_ families: [MetricFamily], _ series: [SegmentContents.Series], phases: [PhaseRecord]) {
        let index = CellIndex(families, series)
        up = index[RunMetrics.recorderUp]
        start = index[RunMetrics.recorderStart]
        heartbeat = index[RunMetrics.recorderHeartbeat]
        runs = index[RunMetrics.recorderRuns]
        rejected = index[RunMetrics.rejectedDeclarations]
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
            PhaseCells(
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

/// Finds the first word of a series by its family and label values.
private struct CellIndex {
    private var cells: [String: [SeriesKey: Int]] = [:]

    init(_ families: [MetricFamily], _ series: [SegmentContents.Series]) {
        let known = Dictionary(
            uniqueKeysWithValues: RunMetrics.families(phases: []).map { ($0.0.name, $0.0) }
        )
        for one in series {
            let family = families[one.family]
            // Another version of the publisher may use the name for something else.
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

/// The words of a snapshot while the derived cells are filled in.
struct SnapshotWords {
    var words: [UInt64]

    mutating func set(_ cell: Int?, _ value: UInt64) {
        if let cell { words[cell] = value }
    }

    mutating func add(_ cell: Int?, _ value: UInt64) {
        if let cell { words[cell] &+= value }
    }

    /// Sets the cell with the index `chosen` to 1 and the others to 0.
    mutating func choose(_ chosen: Int?, of cells: [Int?]) {
        for (index, cell) in cells.enumerated() { set(cell, index == chosen ? 1 : 0) }
    }

    /// Adds a duration in nanoseconds to a histogram that has the buckets of `RunMetrics.durationBounds`.
    mutating func observe(_ histogram: Int?, _ value: UInt64) {
        guard let histogram, let buckets = RunMetrics.shutdownDuration.buckets else { return }
        words[histogram] = words[histogram].addingWithSaturation(value)
        add(histogram + 1 + buckets.cell(of: value), 1)
    }
}

/// Fills the cells with what the records say.
///
/// Only this code turns the end of a run into counts. A reader applies it to the words of every snapshot, and the next run
/// applies it once to the words that it carries over.
extension RunCells {
    func fill(_ words: inout SnapshotWords, from run: ObservedRun) {
        fillRun(&words, run)
        fillRecordings(&words, run)
        fillShutdown(&words, run)
        fillPhases(&words, run)
        if let past = run.past { count(&words, past, of: run.contents) }
        if let last = run.past ?? run.contents.history.last { fillLast(&words, last) }
    }

    private func fillRun(_ words: inout SnapshotWords, _ run: ObservedRun) {
        let identity = run.contents.identity
        words.set(up, run.isOwned ? 1 : 0)
        words.set(start, identity.startedWall.nanoseconds)
        words.set(heartbeat, run.wall(run.heartbeat).nanoseconds)
        words.add(runs, 1)
        words.add(rejected, run.rejected)
        words.choose(run.state.rawValue, of: states)
    }

    private func fillRecordings(_ words: inout SnapshotWords, _ run: ObservedRun) {
        let open = run.past == nil ? run.contents.recordings : []
        words.set(active, UInt64(open.count { $0.state == .recording }))
        words.set(finalizing, UInt64(open.count { $0.state == .finalizing }))
        let ended = run.contents.ended
        words.add(started, ended.reduce(0, &+) &+ UInt64(run.contents.recordings.count))
        for (cell, count) in zip(results, ended) { words.add(cell, count) }
        words.add(results.last ?? nil, UInt64(run.past?.abandoned ?? 0))
    }

    private func fillShutdown(_ words: inout SnapshotWords, _ run: ObservedRun) {
        let lifecycle = run.contents.lifecycle
        let isRunning = run.past == nil && lifecycle.isShuttingDown
        words.set(inProgress, isRunning ? 1 : 0)
        words.set(gracePeriod, isRunning ? lifecycle.gracePeriod : 0)
        words.set(requested, isRunning ? lifecycle.requestedWall.nanoseconds : 0)
        let hasDeadline = isRunning && lifecycle.deadline.nanoseconds > 0
        let wall = run.wall(lifecycle.deadline).nanoseconds
        words.set(deadline, hasDeadline ? wall : 0)
    }

    private func fillPhases(_ words: inout SnapshotWords, _ run: ObservedRun) {
        for (phase, cells) in zip(run.contents.lifecycle.phases, phases) {
            words.set(cells.active, run.past == nil && phase.state == .running ? 1 : 0)
            words.set(cells.elapsed, run.past == nil ? run.elapsed(phase) : 0)
            words.set(cells.budget, phase.budget)
            guard case .ended(let outcome) = phase.state else { continue }
            words.observe(cells.duration, phase.ended.since(phase.started).wholeNanoseconds)
            let index = PhaseOutcome.allCases.firstIndex(of: outcome)
            words.add(index.flatMap { cells.outcomes[$0] }, 1)
        }
    }

    /// Counts the end of this run.
    private func count(_ words: inout SnapshotWords, _ past: PastRun, of contents: SegmentContents)
    {
        switch past.end {
        case .clean: words.add(shutdowns[0], 1)
        case .degraded: words.add(shutdowns[1], 1)
        case .killed: words.add(shutdowns[2], 1)
        case .crashed: words.add(crashes, 1)
        }
        let began = past.lifecycle.requestedBoot.nanoseconds > 0
        if began, past.end == .clean || past.end == .degraded {
            words.observe(duration, past.shutdownDuration)
        }
        if past.end == .killed, let fatal = contents.lifecycle.runningPhase {
            words.add(phases[fatal].outcomes.last ?? nil, 1)
        }
    }

    private func fillLast(_ words: inout SnapshotWords, _ past: PastRun) {
        let began = past.lifecycle.requestedBoot
        words.set(lastTime, past.wall(began.nanoseconds > 0 ? began : past.lastSeen).nanoseconds)
        words.set(lastDuration, past.shutdownDuration)
        words.set(lastGraceUsed, past.graceUsed.bitPattern)
        words.set(lastAbandoned, UInt64(past.abandoned))
        words.choose(RunOutcome.allCases.firstIndex(of: past.end), of: lastOutcomes)
        for (name, cell) in lastPhases {
            let phase = past.lifecycle.phases.first { ExactText($0.name) == ExactText(name) }
            words.set(cell, phase.map { past.duration(of: $0) } ?? 0)
        }
    }
}
