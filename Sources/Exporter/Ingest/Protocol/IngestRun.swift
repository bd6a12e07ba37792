import Posix
import StreamVaultTelemetry

/// One run of a process, published for it: what its messages do to its segment.
final class IngestRun {
    let name: String
    /// Whether the run goes on that was there before the exporter was restarted.
    let isResumed: Bool
    private let publisher: Publisher
    private var metrics: PublishedMetrics
    private var recordings: [UInt64: RecordingPublisher]

    /// Takes over a publisher, and ends it when the run ends: by `goodbye`, or by the end of the connection.
    init(_ publisher: Publisher, name: String, isResumed: Bool) {
        (self.publisher, self.name, self.isResumed) = (publisher, name, isResumed)
        metrics = PublishedMetrics(publisher)
        recordings = publisher.openRecordings
    }

    deinit {
        // The handles in the metrics and recordings are not used again; the lock goes with the publisher.
        unsafe publisher.releaseMemory()
    }

    /// What is wrong although it is published, in one line.
    var trouble: String? { publisher.trouble }

    /// Looks whether readers find the segment, and publishes it anew where they do not; `nil` when nothing is new.
    func check() -> PublisherEvent? { publisher.check() }

    /// Says that the process lives.
    func heartbeat() { publisher.heartbeat() }

    /// Does what a message says; `hello` is not for a run that has begun.
    func apply(_ message: IngestMessage) throws(IngestRefusal) {
        switch message {
        case .hello: throw IngestRefusal(.order, "hello has been said")
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
            publisher.goodbye(outcome, exitStatus: exitStatus)
        }
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
        // Read once: another process may change the file meanwhile.
        let (more, isLess) = bytes.subtractingReportingOverflow(recording.bytesWritten)
        guard !isLess else {
            throw IngestRefusal(.message, "\"bytes\" are fewer than before")
        }
        recording.wrote(Int(clamping: more))
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
        let wanted = ExactText(name)
        if let phase = publisher.lifecycle.phases.first(where: { ExactText($0.name) == wanted }) {
            return phase
        }
        throw IngestRefusal(.message, "phase \"\(name)\" was not declared in hello")
    }

    private static var shutdownHasBegun: IngestRefusal {
        IngestRefusal(.order, "the shutdown has begun")
    }
}
