import Posix
import StreamVaultTelemetry
import Synchronization

/// The streams of this recorder and its state, for the threads that answer questions about them or switch them.
final class Roster: Sendable {
    private let status: RecorderStatus
    let workers: [StreamWorker]
    private let workersByName: [String: StreamWorker]
    /// Which of several streams that could not be started is tried first.
    private let turn = Atomic(0)

    init(_ status: RecorderStatus, workers: [StreamWorker]) {
        (self.status, self.workers) = (status, workers)
        workersByName = Dictionary(uniqueKeysWithValues: workers.map { ($0.stream.name, $0) })
    }

    var active: [ActiveRecording] { status.recordings }

    subscript(stream: String) -> StreamWorker? { workersByName[stream] }

    /// Whether no recording gets anything to its disk any more: the recorder then has no sign of life to give.
    func isStuck(at now: BootTime) -> Bool {
        let busy = workers.filter { $0.active != nil }
        return !busy.isEmpty && busy.allSatisfy { $0.isStuck(at: now, timeout: .seconds(5)) }
    }

    /// Starts the streams that are always on; the others can be started from now on.
    ///
    /// One that cannot be started costs no other, and is tried again by `startMissing`.
    func open() {
        for worker in workers where worker.stream.record == .always { worker.startInsisting() }
        status.changeState { state in
            if case .starting = state { state = .recording }
        }
    }

    /// Starts streams that are wanted and could not be started before: one, and more as long as there is plenty of room.
    func startMissing() {
        let missing = workers.filter(\.isMissing)
        guard !missing.isEmpty else { return }
        let first = turn.wrappingAdd(1, ordering: .relaxed).newValue % missing.count
        for worker in missing[first...] + missing[..<first] {
            worker.startInsisting()
            guard Headroom.shortage(pipes: 16) == nil else { return }
        }
    }

    /// Starts no more recordings; the recorder ends with the last open one.
    ///
    /// A second call changes nothing.
    func drain(_ context: RecordingContext) {
        let isFirst = status.changeState { state in
            switch state {
            case .starting, .recording:
                state = .draining
                return true
            case .draining, .stopping: return false
            }
        }
        guard isFirst else { return }
        for worker in workers { worker.drain() }
        context.publisher.enter(.draining)
        let count = "\(status.recordingCount)"
        context.log(.info, "Draining: no new recordings", ["active": count])
        context.broadcaster.send(.draining)
        context.wakeup.wake()  // There may be nothing to wait for.
    }

    /// Whether the drain is over: nothing is recorded, and nothing will be.
    var isDrained: Bool {
        guard case .draining = status.state else { return false }
        return workers.allSatisfy(\.hasEnded)
    }

    func showShutdown(in phase: Phase, deadline: BootTime) {
        status.changeState { $0 = .stopping(phase, deadline: deadline) }
    }
}

/// Why a stream is not switched on now.
enum Refusal: Equatable, Sendable {
    case starting, draining
    case stopping(secondsLeft: Double)
    /// The disk has no room for another recording.
    case noSpace
    case failed(SystemError)
}

/// What became of a wish to switch a stream on or off.
enum Switching: Equatable, Sendable {
    /// It was otherwise, and is on its way now.
    case changed
    /// It was so already.
    case unchanged
    case refused(Refusal)
}

extension Roster {
    /// Switches a stream on; where that fails now and `insists`, it is tried again until it is switched off.
    func start(_ worker: StreamWorker, insists: Bool = false) -> Switching {
        if let refusal { return .refused(refusal) }
        switch worker.phase {
        case .on, .endingWhole(thenOn: true): return .unchanged
        case .off, .endingWhole(thenOn: false), .interrupted: break
        }
        do throws(SystemError) {
            try worker.start()
            return .changed
        } catch {
            if insists { worker.startInsisting() }
            return .refused(.failed(error))
        }
    }

    /// Switches a stream off; also while draining, which it shortens.
    func stop(_ worker: StreamWorker) -> Switching {
        if let refusal, refusal != .draining { return .refused(refusal) }
        switch worker.phase {
        case .off, .endingWhole(thenOn: false), .interrupted: return .unchanged
        case .on, .endingWhole(thenOn: true): break
        }
        worker.stop()
        return .changed
    }

    /// Why nothing new is begun now; `nil` when it is.
    var refusal: Refusal? {
        switch status.state {
        case .starting: .starting
        case .recording: nil
        case .draining: .draining
        case .stopping(_, let deadline):
            .stopping(secondsLeft: deadline.since(.now()).inSeconds)
        }
    }
}
