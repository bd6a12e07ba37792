import Posix
import StreamVaultTelemetry
import Synchronization

/// The streams of this recorder, by name; used by all threads.
final class StreamRegistry: Sendable {
    private let status: RecorderStatus
    let workers: [StreamRecorder]
    private let recordersByName: [String: StreamRecorder]
    /// Rotates which of several streams that could not be started is tried first.
    private let turn = Atomic(0)

    init(_ status: RecorderStatus, workers: [StreamRecorder]) {
        (self.status, self.workers) = (status, workers)
        recordersByName = Dictionary(uniqueKeysWithValues: workers.map { ($0.stream.name, $0) })
    }

    var active: [ActiveRecording] { status.recordings }

    subscript(stream: String) -> StreamRecorder? { recordersByName[stream] }

    /// Whether no recording can write to its disk any more; the recorder then stops its heartbeat.
    func isStuck(at now: BootTime) -> Bool {
        let busy = workers.filter { $0.active != nil }
        return !busy.isEmpty && busy.allSatisfy { $0.isStuck(at: now, timeout: .seconds(5)) }
    }

    /// Starts the streams that are always on; the others can be started from now on.
    ///
    /// One that cannot be started does not affect the others, and is tried again by `startMissing`.
    func open() {
        for worker in workers where worker.stream.record == .always { worker.startInsisting() }
        status.changeState { state in
            if case .starting = state { state = .recording }
        }
    }

    /// Starts streams that could not be started before: one, and more as long as there are plenty of descriptors.
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

    /// Whether the drain is complete: no recording is open, and none will begin.
    var isDrained: Bool {
        guard case .draining = status.state else { return false }
        return workers.allSatisfy(\.hasEnded)
    }

    func showShutdown(in phase: Phase, deadline: BootTime) {
        status.changeState { $0 = .stopping(phase, deadline: deadline) }
    }
}

/// Why a stream cannot be switched on now.
enum Refusal: Equatable, Sendable {
    case starting, draining
    case stopping(secondsLeft: Double)
    /// The disk has no room for another recording.
    case noSpace
    case failed(SystemError)
}

/// The result of switching a stream on or off.
enum SwitchResult: Equatable, Sendable {
    /// The stream is changing now.
    case changed
    /// The stream was in that state already.
    case unchanged
    case refused(Refusal)
}

extension StreamRegistry {
    /// Switches a stream on; with `insists`, a start that fails is tried again until the stream is switched off.
    func start(_ worker: StreamRecorder, insists: Bool = false) -> SwitchResult {
        if let refusal { return .refused(refusal) }
        switch worker.switchState {
        case .on, .stopping(thenStart: true): return .unchanged
        case .off, .stopping(thenStart: false), .interrupted: break
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
    func stop(_ worker: StreamRecorder) -> SwitchResult {
        if let refusal, refusal != .draining { return .refused(refusal) }
        switch worker.switchState {
        case .off, .stopping(thenStart: false), .interrupted: return .unchanged
        case .on, .stopping(thenStart: true): break
        }
        worker.stop()
        return .changed
    }

    /// Why no recording may begin now; `nil` if one may.
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
