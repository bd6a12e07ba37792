import Posix
import StreamVaultTelemetry

/// How far a recorder is on its way to its end, as its segment shows it.
enum RecorderStage: Hashable {
    /// It has not begun to stop, or its segment cannot be read and nothing says that it has.
    ///
    /// The heartbeat is the last one; `nil` if none is promised or known.
    case running(heartbeat: BootTime?)
    /// From the beginning of the shutdown to the end of the process; the deadline is its own, if it has one.
    case stopping(deadline: BootTime?)
    /// Its process lives, but the loop that would stop it does not.
    case hung(run: [UInt8])
    /// No process holds the segment: this run writes nothing more.
    case over(run: [UInt8])
}

extension RecorderStage {
    init(_ known: KnownRecorder) {
        guard let snapshot = known.snapshot else {
            self = .running(heartbeat: nil)
            return
        }
        let (identity, lifecycle) = (snapshot.contents.identity, snapshot.contents.lifecycle)
        if !snapshot.isOwned {
            // Also when its file is gone by now: this is its final state.
            self = .over(run: identity.runID)
        } else if known.failure != nil {
            self = .running(heartbeat: nil)
        } else if snapshot.verdict == .hung {
            self = .hung(run: identity.runID)
        } else if lifecycle.state == .stopping || lifecycle.state == .stopped {
            let deadline = lifecycle.deadline
            self = .stopping(deadline: deadline.nanoseconds > 0 ? deadline : nil)
        } else {
            self = .running(heartbeat: identity.promisesHeartbeats ? snapshot.heartbeat : nil)
        }
    }
}
