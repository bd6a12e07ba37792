import Glibc
import Posix

/// Ends the process when its time is over, whatever holds up the shutdown: a log file on a disk that hangs, for one.
///
/// The telemetry then has no goodbye, and the run counts as killed in the phase that it did not leave.
enum Watchdog {
    /// Where there is no room for a thread, the orchestrator's SIGKILL has to do.
    static func start(endingAt deadline: BootTime) {
        try? DetachedThread.start(named: "watchdog") {
            var nothing = PollSet()
            while BootTime.now() < deadline { _ = try? nothing.wait(until: deadline) }
            _exit(1)
        }
    }
}
