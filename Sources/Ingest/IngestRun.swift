import JSON
import Posix
import StreamVaultTelemetry

/// A run of a process: applies the messages of the process to its segment.
final class IngestRun {
    let name: String
    /// Whether the run began before the last restart of the exporter.
    let isResumed: Bool
    private let publisher: Publisher
    private var metrics: ClientMetrics
    private var recordings: [UInt64: RecordingPublisher]

    /// The run ends with `goodbye`, or with the release of this object when the connection ends.
    init(_ publisher: Publisher, name: String, isResumed: Bool) {
        (self.publisher, self.name, self.isResumed) = (publisher, name, isResumed)
        metrics = ClientMetrics(publisher)
        recordings = publisher.openRecordings
    }

    deinit {
        // Nothing uses the handles in the metrics and recordings after this; the publisher releases the lock.
        unsafe publisher.releaseMemory()
    }

    /// Why the published telemetry is incomplete, in one line.
    var warning: String? { publisher.warning }

    /// Checks whether readers find the segment, and publishes it again if they do not; `nil` when nothing has changed.
    func check() -> PublisherEvent? { publisher.check() }

    /// Records that the process is alive.
    func heartbeat() { publisher.heartbeat() }

    /// Applies a message other than `hello`, which begins a run.
    func apply(_ message: IngestMessage) throws(IngestError) {
        switch message {
        case .hello: throw IngestError(.order, "hello was already sent")
        case .state(let state): try enter(state)
        case .declare(let declaration): try metrics.declare(declaration)
        case .retire(let series): try metrics.retire(series)
        case .add(let series, let number): try metrics.add(number, to: series)
        case .set(let series, let number): try metrics.set(series, to: number)
        case .observe(let series, let number): try metrics.observe(number, in: series)
        case .recordingStarted(let recording): try start(recording)
        case .recordingProgress(let id, let bytes): try note(bytes, of: id)
        case .recordingFinalizing(let id): try recording(id).finalizing()
        case .recordingEnded(let id, let result):
            try recording(id).end(result)
            recordings[id] = nil
        case .shutdownBegin(let signal, let gracePeriod, let budgets):
            try beginShutdown(signal, gracePeriod, budgets)
        case .phaseBegin(let phase): try beginPhase(phase)
        case .phaseEnd(let outcome): try endPhase(outcome)
        case .heartbeat: break
        case .goodbye(let exitStatus, let outcome):
            publisher.finish(outcome, exitStatus: exitStatus)
        }
    }

    // MARK: Recordings

    private func start(_ start: IngestRecording) throws(IngestError) {
        guard recordings[start.id] == nil else {
            throw IngestError(.order, "recording \(start.id) is already open")
        }
        guard recordings.count < SegmentCapacity().recordings else {
            throw IngestError(.room, "\(recordings.count) recordings are open")
        }
        recordings[start.id] = publisher.startRecording(
            id: start.id,
            stream: start.stream,
            path: start.path,
            container: start.container
        )
    }

    private func note(_ bytes: UInt64, of id: UInt64) throws(IngestError) {
        let recording = try recording(id)
        // Read once, because another process may change the file meanwhile.
        let (more, isLess) = bytes.subtractingReportingOverflow(recording.bytesWritten)
        guard !isLess else {
            throw IngestError(.message, "\"bytes\" is less than before")
        }
        recording.wrote(Int(clamping: more))
    }

    private func recording(_ id: UInt64) throws(IngestError) -> RecordingPublisher {
        if let recording = recordings[id] { return recording }
        throw IngestError(.order, "recording \(id) is not open")
    }

    // MARK: Lifecycle

    private func enter(_ state: RunState) throws(IngestError) {
        guard !publisher.lifecycle.isShuttingDown else { throw Self.shutdownHasBegun }
        publisher.enter(state)
    }

    private func beginShutdown(
        _ signal: Int32,
        _ gracePeriod: Duration?,
        _ budgets: [PhaseBudget]
    ) throws(IngestError) {
        guard !publisher.lifecycle.isShuttingDown else { throw Self.shutdownHasBegun }
        for budget in budgets { _ = try phase(budget.name) }
        publisher.beginShutdown(signal: signal, gracePeriod: gracePeriod, phases: budgets)
    }

    /// The first phase begins with the shutdown: a message that begins it again has no effect.
    private func beginPhase(_ name: String) throws(IngestError) {
        try requireShutdown()
        switch try phase(name).state {
        case .running: return
        case .pending: publisher.beginPhase(name)
        case .ended: throw IngestError(.order, "phase \"\(name)\" has ended")
        }
    }

    private func endPhase(_ outcome: PhaseOutcome) throws(IngestError) {
        try requireShutdown()
        guard publisher.lifecycle.runningPhase != nil else {
            throw IngestError(.order, "no phase is running")
        }
        publisher.endPhase(outcome)
    }

    private func requireShutdown() throws(IngestError) {
        guard publisher.lifecycle.isShuttingDown else {
            throw IngestError(.order, "no shutdown has begun")
        }
    }

    private func phase(_ name: String) throws(IngestError) -> PhaseRecord {
        let wanted = ExactText(name)
        if let phase = publisher.lifecycle.phases.first(where: { ExactText($0.name) == wanted }) {
            return phase
        }
        throw IngestError(.message, "phase \"\(name)\" was not declared in hello")
    }

    private static var shutdownHasBegun: IngestError {
        IngestError(.order, "the shutdown has already begun")
    }
}

/// The metrics that a run has declared: applies messages to them.
private struct ClientMetrics {
    private let publisher: Publisher
    private var families: [String: DeclaredFamily] = [:]
    /// All names in expositions, and the family that each belongs to.
    private var owners: [String: String] = [:]

    private struct DeclaredFamily {
        let family: MetricFamily
        var series: [SeriesKey: Instrument] = [:]
    }

    init(_ publisher: Publisher) {
        self.publisher = publisher
    }

    /// Declares a metric and some of its series; when the segment is full, the series that fit are kept.
    mutating func declare(_ declaration: IngestDeclaration) throws(IngestError) {
        let family = declaration.family
        if let known = families[family.name], !known.family.hasShape(of: family) {
            throw IngestError(
                .message,
                "\"\(family.name)\" was declared with another type, unit, labels or bounds"
            )
        }
        let series = declaration.series.map { IngestSeries(name: family.name, labels: $0) }
        for one in series { _ = try Self.values(of: one, in: family) }
        if families[family.name] == nil {
            let names = try ownNames(of: family)
            guard publisher.declare(family) else { throw Self.full }
            families[family.name] = DeclaredFamily(family: family)
            for name in names { owners[name] = family.name }
        }
        for one in series { _ = try instrument(one) }
    }

    /// The names of the family in expositions; a name must belong to one family only.
    private func ownNames(of family: MetricFamily) throws(IngestError) -> [String] {
        let names = MetricFamily.sampleNames(family.name, family.kind, inOpenMetrics: true)
        for name in names {
            guard let owner = owners[name] else { continue }
            let reason = "\"\(family.name)\" and \"\(owner)\" share the name \"\(name)\""
            throw IngestError(.message, reason)
        }
        return names
    }

    mutating func retire(_ series: IngestSeries) throws(IngestError) {
        let values = try Self.values(of: series, in: try family(series.name).family)
        publisher.retire(series.name, values)
        families[series.name]?.series[SeriesKey(family: 0, values: values)] = nil
    }

    mutating func add(_ number: JSONNumber, to series: IngestSeries) throws(IngestError) {
        let amount = try amount(number, in: try family(series.name, .counter))
        if case .counter(let counter) = try instrument(series) { counter.add(amount) }
    }

    mutating func set(_ series: IngestSeries, to number: JSONNumber) throws(IngestError) {
        _ = try family(series.name, .gauge)
        guard let value = number.double else {
            throw IngestError(.message, "\"value\" is too large")
        }
        if case .gauge(let gauge) = try instrument(series) { gauge.set(value) }
    }

    mutating func observe(_ number: JSONNumber, in series: IngestSeries) throws(IngestError) {
        let amount = try amount(number, in: try family(series.name, .histogram))
        if case .histogram(let histogram) = try instrument(series) { histogram.observe(amount) }
    }

    /// An amount in the unit of the cells.
    private func amount(
        _ number: JSONNumber,
        in family: MetricFamily
    ) throws(IngestError) -> UInt64 {
        if family.isInSeconds {
            if let nanoseconds = number.nanoseconds { return nanoseconds }
            throw IngestError(.message, "\"value\" must be a number of seconds, 0 or more")
        }
        if let integer = number.integer { return integer }
        throw IngestError(.message, "\"value\" must be a whole number, 0 or more")
    }

    /// The handle of a series, which is created if necessary.
    private mutating func instrument(_ series: IngestSeries) throws(IngestError) -> Instrument {
        let family = try family(series.name)
        let values = try Self.values(of: series, in: family.family)
        let key = SeriesKey(family: 0, values: values)
        if let known = family.series[key] { return known }
        guard let instrument = publisher.instrument(family.family, values) else {
            throw Self.full
        }
        families[series.name]?.series[key] = instrument
        return instrument
    }

    private func family(
        _ name: String,
        _ kind: MetricFamily.Kind
    ) throws(IngestError) -> MetricFamily {
        let family = try family(name).family
        guard family.kind == kind else {
            throw IngestError(.message, "\"\(name)\" is not a \(kind)")
        }
        return family
    }

    private func family(_ name: String) throws(IngestError) -> DeclaredFamily {
        if let family = families[name] { return family }
        throw IngestError(.order, "\"\(name)\" was not declared")
    }

    /// The label values in the order of the family's labels.
    private static func values(
        of series: IngestSeries,
        in family: MetricFamily
    ) throws(IngestError) -> [String] {
        let values = family.labels.compactMap { series.labels[$0] }
        guard values.count == family.labels.count, values.count == series.labels.count else {
            let labels = family.labels.joined(separator: ", ")
            throw IngestError(.message, "\"labels\" of \"\(series.name)\" must be: \(labels)")
        }
        guard MetricFamily.holds(values) else {
            throw IngestError(.message, "\"labels\" are longer than 144 bytes together")
        }
        return values
    }

    private static var full: IngestError {
        IngestError(.room, "the segment is full, or has a different metric with this name")
    }
}
