import Posix
import Synchronization

/// Work on a thread of its own, which whoever waits for it can leave behind.
final class BackgroundTask<Failure: Error>: Sendable {
    private let outcome = Mutex<Result<Void, Failure>?>(nil)

    /// `nil` until the work is done.
    var result: Result<Void, Failure>? { outcome.withLock { $0 } }

    /// Starts at once; wakes the main thread when it is done.
    init(
        named name: String,
        _ wakeup: Wakeup,
        _ work: @escaping @Sendable () throws(Failure) -> Void
    ) throws(SystemError) {
        try DetachedThread.start(named: name) { [self] in
            let result = Result(catching: work)
            outcome.withLock { $0 = result }
            wakeup.wake()
        }
    }
}
