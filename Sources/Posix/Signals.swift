import Glibc
import Synchronization

/// Delivers signals to a `poll` loop: each one becomes a byte in a pipe.
///
/// One at a time in a process; a second traps. `deinit` restores what was before.
package struct Signals: ~Copyable {
    private let pipe: Pipe
    private let previous: [(signal: CInt, action: sigaction)]

    /// Takes over `signals`, with `sigaction(2)`; interrupted calls are restarted, except `poll`.
    ///
    /// Before other threads are started: they take over the mask.
    package init(_ signals: [CInt]) throws(SystemError) {
        let pipe = try Pipe()
        try pipe.reader.makeNonblocking()
        try pipe.writer.makeNonblocking()  // A full pipe must not stop the program in its handler.
        // Before the handlers, so that no signal finds it unset.
        let claim = deliveryPipe.compareExchange(
            expected: -1,
            desired: pipe.writer.rawValue,
            ordering: .sequentiallyConsistent
        )
        precondition(claim.exchanged, "only one Signals at a time")
        var previous: [(signal: CInt, action: sigaction)] = []
        do throws(SystemError) {
            for signal in signals { previous.append((signal, try install(deliver, for: signal))) }
        } catch {
            Self.restore(previous)
            throw error
        }
        self.previous = previous
        self.pipe = pipe
        Self.unblock(signals)
    }

    deinit { Self.restore(previous) }

    /// Readable while a signal waits; to be polled.
    package var descriptor: CInt { pipe.reader.rawValue }

    /// Takes the oldest signal that waits; `nil` when none does.
    package mutating func next() -> CInt? {
        var signal: UInt8 = 0
        let count = unsafe withUnsafeMutableBytes(of: &signal) { bytes in
            unsafe try? pipe.reader.read(into: bytes)  // Only EAGAIN can come: no signal waits.
        }
        return count == 1 ? CInt(signal) : nil
    }

    /// Turns a write to a closed pipe or socket from a `SIGPIPE` into `EPIPE`, for the whole process.
    ///
    /// By a handler that does nothing, not by `SIG_IGN`: a program that is executed later would inherit that.
    package static func ignoringBrokenPipe() throws(SystemError) {
        _ = try install({ _ in }, for: SIGPIPE)
    }

    /// Leaves `signals` to other threads; those that this thread starts block them as well.
    package static func block(_ signals: [CInt]) { change(SIG_BLOCK, signals) }

    /// Lets signals through to this thread that its parent, or the parent process, had blocked.
    ///
    /// A mask is inherited, and many supervisors start programs from threads that block everything. A program that is deaf to SIGTERM would lose what it holds to SIGKILL.
    package static func unblock(_ signals: [CInt]) { change(SIG_UNBLOCK, signals) }

    private static func change(_ how: CInt, _ signals: [CInt]) {
        var set = sigset_t()
        unsafe sigemptyset(&set)
        for signal in signals { unsafe sigaddset(&set, signal) }
        unsafe pthread_sigmask(how, &set, nil)
    }

    private static func restore(_ previous: [(signal: CInt, action: sigaction)]) {
        for (signal, action) in previous {
            var action = action
            _ = unsafe sigaction(signal, &action, nil)
        }
        deliveryPipe.store(-1, ordering: .sequentiallyConsistent)
    }
}

/// Where the handler writes; -1 without a `Signals`.
private let deliveryPipe = Atomic<CInt>(-1)

/// The handler: only calls that are safe in one (`signal-safety(7)`), and `errno` stays as it was.
private func deliver(_ signal: CInt) {
    let interrupted = errno
    var byte = UInt8(truncatingIfNeeded: signal)
    _ = unsafe write(deliveryPipe.load(ordering: .sequentiallyConsistent), &byte, 1)
    errno = interrupted
}

private func install(
    _ handler: @escaping @convention(c) (CInt) -> Void,
    for signal: CInt
) throws(SystemError) -> sigaction {
    var action = sigaction()
    var previous = sigaction()
    unsafe action.__sigaction_handler.sa_handler = handler
    action.sa_flags = SA_RESTART
    try retrying("sigaction \(signal)") { unsafe sigaction(signal, &action, &previous) }
    return previous
}
