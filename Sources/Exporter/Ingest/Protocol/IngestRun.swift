import Posix
import StreamVaultTelemetry

/// One run of a process, published for it: what its messages do to its segment.
final class IngestRun {
    let name: String
    /// Whether the run goes on that was there before the exporter was restarted.
    let isResumed: Bool
    private let publisher: Publisher
    private var families: [String: DeclaredFamily] = [:]
    private var recordings: [UInt64: RecordingPublisher]

    private struct DeclaredFamily {
        let family: MetricFamily
        var series: [[String]: Instrument] = [:]
    }

    /// Takes over a publisher, and ends it when the run ends: by `goodbye`, or by the end of the connection.
    init(_ publisher: Publisher, name: String, isResumed: Bool) {
        (self.publisher, self.name, self.isResumed) = (publisher, name, isResumed)
        recordings = publisher.openRecordings
    }

    deinit {
        families = [:]
        recordings = [:]
        // No handle is left; the lock goes with the publisher.
        unsafe publisher.releaseMemory()
    }

    /// Says that the process lives.
    func heartbeat() { publisher.heartbeat() }

    /// Does what a message says; `hello` is not for a run that has begun.
    func apply(_ message: IngestMessage) throws(IngestRefusal) {
        switch message {
        case .hello: throw IngestRefusal(.order, "hello has been said")
        case .state(let state): try enter(state)
        case .declare(let declaration): try declare(declaration)
        case .retire(let series): try retire(series)
        case .add(let series, let number): try add(number, to: series)
        case .set(let series, let number): try set(series, to: number)
        case .observe(let series, let number): try observe(number, in: series)
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
            publisher.goodbye(outcome, exitStatus: exitStatus)
        }
    }
}

extension IngestRun {
    private func declare(_ declaration: IngestDeclaration) throws(IngestRefusal) {
        let family = declaration.family
        if let known = families[family.name] {
            guard known.family.hasShape(of: family) else {
                throw IngestRefusal(.message, "\"\(family.name)\" was declared otherwise")
            }
        } else {
            guard publisher.declare(family) else { throw Self.full }
            families[family.name] = DeclaredFamily(family: family)
        }
        for labels in declaration.series {
            _ = try instrument(IngestSeries(name: family.name, labels: labels))
        }
    }

    private func retire(_ series: IngestSeries) throws(IngestRefusal) {
        let values = try values(of: series, in: try family(series.name))
        publisher.retire(series.name, values)
        families[series.name]?.series[values] = nil
    }

    private func add(_ number: JSONNumber, to series: IngestSeries) throws(IngestRefusal) {
        guard case .counter(let counter) = try instrument(series) else {
            throw Self.wrongKind(series, "counter")
        }
        counter.add(try amount(number, series))
    }

    private func set(_ series: IngestSeries, to number: JSONNumber) throws(IngestRefusal) {
        guard case .gauge(let gauge) = try instrument(series) else {
            throw Self.wrongKind(series, "gauge")
        }
        guard let value = number.double else {
            throw IngestRefusal(.message, "\"value\" is too large")
        }
        gauge.set(value)
    }

    private func observe(_ number: JSONNumber, in series: IngestSeries) throws(IngestRefusal) {
        guard case .histogram(let histogram) = try instrument(series) else {
            throw Self.wrongKind(series, "histogram")
        }
        histogram.observe(try amount(number, series))
    }

    /// An amount in the cells' unit.
    private func amount(
        _ number: JSONNumber,
        _ series: IngestSeries
    ) throws(IngestRefusal) -> UInt64 {
        if try family(series.name).family.isInSeconds {
            if let nanoseconds = number.nanoseconds { return nanoseconds }
            throw IngestRefusal(.message, "\"value\" must be a number of seconds, from 0 on")
        }
        if let whole = number.whole { return whole }
        throw IngestRefusal(.message, "\"value\" must be a whole number, from 0 on")
    }

    private func instrument(_ series: IngestSeries) throws(IngestRefusal) -> Instrument {
        let family = try family(series.name)
        let values = try values(of: series, in: family)
        if let known = family.series[values] { return known }
        guard MetricFamily.holds(values) else {
            throw IngestRefusal(.message, "\"labels\" take more than 144 bytes")
        }
        guard let made = publisher.instrument(family.family, values) else { throw Self.full }
        families[series.name]?.series[values] = made
        return made
    }

    private func family(_ name: String) throws(IngestRefusal) -> DeclaredFamily {
        if let family = families[name] { return family }
        throw IngestRefusal(.order, "\"\(name)\" was not declared")
    }

    private func values(
        of series: IngestSeries,
        in family: DeclaredFamily
    ) throws(IngestRefusal) -> [String] {
        let values = family.family.labels.compactMap { series.labels[$0] }
        guard values.count == family.family.labels.count, values.count == series.labels.count
        else {
            let labels = family.family.labels.joined(separator: ", ")
            throw IngestRefusal(.message, "\"labels\" of \"\(series.name)\" are: \(labels)")
        }
        return values
    }

    private static func wrongKind(_ series: IngestSeries, _ kind: String) -> IngestRefusal {
        IngestRefusal(.message, "\"\(series.name)\" is no \(kind)")
    }

    private static var full: IngestRefusal {
        IngestRefusal(.room, "the segment has no room for it, or an earlier metric of its name")
    }
}

extension IngestRun {
    private func start(_ start: IngestRecording) throws(IngestRefusal) {
        guard recordings[start.id] == nil else {
            throw IngestRefusal(.order, "a recording \(start.id) is open")
        }
        guard recordings.count < SegmentCapacity().recordings else {
            throw IngestRefusal(.room, "\(recordings.count) recordings are open")
        }
        recordings[start.id] = publisher.startRecording(
            id: start.id,
            stream: start.stream,
            path: start.path,
            container: start.container
        )
    }

    private func note(_ bytes: UInt64, of id: UInt64) throws(IngestRefusal) {
        let recording = try recording(id)
        guard bytes >= recording.bytesWritten else {
            throw IngestRefusal(.message, "\"bytes\" are fewer than before")
        }
        recording.wrote(Int(clamping: bytes - recording.bytesWritten))
    }

    private func recording(_ id: UInt64) throws(IngestRefusal) -> RecordingPublisher {
        if let recording = recordings[id] { return recording }
        throw IngestRefusal(.order, "no recording \(id) is open")
    }
}

extension IngestRun {
    private func enter(_ state: RunState) throws(IngestRefusal) {
        guard !publisher.lifecycle.isShuttingDown else { throw Self.shutdownHasBegun }
        publisher.enter(state)
    }

    private func beginShutdown(
        _ signal: Int32,
        _ gracePeriod: Duration?,
        _ budgets: [ShutdownPhase]
    ) throws(IngestRefusal) {
        guard !publisher.lifecycle.isShuttingDown else { throw Self.shutdownHasBegun }
        for budget in budgets { _ = try phase(budget.name) }
        publisher.beginShutdown(signal: signal, gracePeriod: gracePeriod, phases: budgets)
    }

    /// The first phase begins with the shutdown: to say it once more changes nothing.
    private func beginPhase(_ name: String) throws(IngestRefusal) {
        try needShutdown()
        switch try phase(name).state {
        case .running: return
        case .pending: publisher.beginPhase(name)
        case .ended: throw IngestRefusal(.order, "phase \"\(name)\" has ended")
        }
    }

    private func endPhase(_ outcome: PhaseOutcome) throws(IngestRefusal) {
        try needShutdown()
        guard publisher.lifecycle.runningPhase != nil else {
            throw IngestRefusal(.order, "no phase is running")
        }
        publisher.endPhase(outcome)
    }

    private func needShutdown() throws(IngestRefusal) {
        guard publisher.lifecycle.isShuttingDown else {
            throw IngestRefusal(.order, "no shutdown has begun")
        }
    }

    private func phase(_ name: String) throws(IngestRefusal) -> PhaseRecord {
        if let phase = publisher.lifecycle.phases.first(where: { $0.name == name }) {
            return phase
        }
        throw IngestRefusal(.message, "phase \"\(name)\" was not declared in hello")
    }

    private static var shutdownHasBegun: IngestRefusal {
        IngestRefusal(.order, "the shutdown has begun")
    }
}
