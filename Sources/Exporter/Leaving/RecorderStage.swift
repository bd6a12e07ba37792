import Posix
import StreamVaultTelemetry

/// How far a recorder is on its way out, as its segment shows it.
enum RecorderStage: Hashable {
    /// It has not begun to stop; or its segment cannot be read, and nothing says that it has.
    case running
    /// From the beginning of the shutdown to the end of the process; the deadline is its own, if it told one.
    case stopping(deadline: BootTime?)
    /// No process holds the segment: nothing more will be written there by this run.
    case over(run: [UInt8])
}

extension RecorderStage {
    init(_ known: KnownRecorder) {
        guard known.failure == nil, let snapshot = known.snapshot else {
            self = .running
            return
        }
        let lifecycle = snapshot.contents.lifecycle
        if !snapshot.isOwned {
            self = .over(run: snapshot.contents.identity.runID)
        } else if lifecycle.state == .stopping || lifecycle.state == .stopped {
            let deadline = lifecycle.deadline
            self = .stopping(deadline: deadline.nanoseconds > 0 ? deadline : nil)
        } else {
            self = .running
        }
    }
}
