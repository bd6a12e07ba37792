import CLinux
import Glibc
import Synchronization

/// A thread for work that blocks; it ends with the work, and nothing waits for it.
package enum DetachedThread {
    /// Address space; untouched pages take no memory.
    private static let stackBytes = 1 << 20

    /// Starts the work, with `pthread_create(3)`; tools that list threads show the first 15 bytes of the name.
    ///
    /// - Throws: `EAGAIN` where the system, or the container, allows no further thread.
    package static func start(
        named name: String,
        _ work: @escaping @Sendable () -> Void
    ) throws(SystemError) {
        let job = Job {
            _ = unsafe clinux_name_thread(name)
            work()
        }
        var attributes = pthread_attr_t()
        unsafe pthread_attr_init(&attributes)
        defer { unsafe pthread_attr_destroy(&attributes) }
        unsafe pthread_attr_setdetachstate(&attributes, CInt(PTHREAD_CREATE_DETACHED))
        unsafe pthread_attr_setstacksize(&attributes, stackBytes)
        let passed = unsafe Unmanaged.passRetained(job)
        var thread = pthread_t()
        let code = unsafe pthread_create(&thread, &attributes, run, passed.toOpaque())
        guard code == 0 else {
            unsafe passed.release()
            throw SystemError(call: "pthread_create \(name)", code: code)
        }
    }
}

/// Work on a thread of its own, which its starter can abandon.
package final class BackgroundTask<Failure: Error>: Sendable {
    private let outcome = Mutex<Result<Void, Failure>?>(nil)

    /// `nil` until the work is done.
    package var result: Result<Void, Failure>? { outcome.withLock { $0 } }

    /// Starts the work, and wakes `wakeup` when it is done.
    package init(
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

private final class Job: Sendable {
    let work: @Sendable () -> Void

    init(_ work: @escaping @Sendable () -> Void) {
        self.work = work
    }
}

/// The start function of a thread: runs the job that it gets.
private func run(_ passed: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    guard let passed = unsafe passed else { return nil }
    unsafe Unmanaged<Job>.fromOpaque(passed).takeRetainedValue().work()
    return nil
}
