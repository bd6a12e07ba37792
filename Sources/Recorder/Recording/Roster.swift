import Posix
import Synchronization

/// The streams of this recorder and its state, for the threads that answer questions about them.
final class Roster: Sendable {
    let name: String
    let workers: [StreamWorker]
    private let shutdown = Mutex<ShutdownState?>(nil)

    /// A shutdown on its way.
    struct ShutdownState: Sendable {
        var phase: Phase
        let deadline: BootTime
    }

    init(name: String, workers: [StreamWorker]) {
        (self.name, self.workers) = (name, workers)
    }

    var active: [ActiveRecording] { workers.compactMap(\.active) }

    /// Whether no recording gets anything to its disk any more: the recorder then has no sign of life to give.
    func isStuck(at now: BootTime) -> Bool {
        let busy = workers.filter { $0.active != nil }
        return !busy.isEmpty && busy.allSatisfy { $0.isStuck(at: now, patience: .seconds(5)) }
    }

    /// `nil` as long as nobody has asked for a shutdown.
    var shutdownState: ShutdownState? { shutdown.withLock { $0 } }

    func showShutdown(in phase: Phase, deadline: BootTime) {
        shutdown.withLock { $0 = ShutdownState(phase: phase, deadline: deadline) }
    }
}
