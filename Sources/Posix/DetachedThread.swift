import Glibc

/// A thread of its own for work that blocks; it ends with the work, and nobody waits for it.
package enum DetachedThread {
    /// Of address space; what is not touched takes no memory.
    private static let stackBytes = 1 << 20

    /// Starts the work at once, with `pthread_create(3)`; tools that list threads show the first 15 bytes of the name.
    ///
    /// - Throws: `EAGAIN` where the system, or the container, allows no further thread.
    package static func start(
        named name: String,
        _ work: @escaping @Sendable () -> Void
    ) throws(SystemError) {
        let job = Job {
            showName(name)
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

    /// Glibc's Swift module has neither `pthread_setname_np(3)` nor `prctl(2)`, but the kernel has a file for it.
    private static func showName(_ name: String) {
        guard let file = try? FileDescriptor(opening: "/proc/thread-self/comm", O_WRONLY) else {
            return
        }
        try? file.writeAll(Array(name.utf8).span)
    }
}

private final class Job: Sendable {
    let work: @Sendable () -> Void

    init(_ work: @escaping @Sendable () -> Void) {
        self.work = work
    }
}

/// The first function of a thread, which takes over the job that it is passed.
private func run(_ passed: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
    guard let passed = unsafe passed else { return nil }
    unsafe Unmanaged<Job>.fromOpaque(passed).takeRetainedValue().work()
    return nil
}
