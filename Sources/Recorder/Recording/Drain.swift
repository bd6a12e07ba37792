import Posix
import StreamVaultTelemetry

/// Lets the recorder come to its end by itself: no new recordings, and an end with the last that runs.
struct Drain: Sendable {
    let roster: Roster
    let context: RecordingContext
    let broadcaster: Broadcaster

    /// A second call changes nothing.
    func begin() {
        guard roster.drain() else { return }
        context.publisher.enter(.draining)
        let count = "\(roster.active.count)"
        context.log(.info, "Draining: no new recordings", ["active": count])
        broadcaster.send(.draining)
        context.wakeup.wake()  // There may be nothing to wait for.
    }
}
