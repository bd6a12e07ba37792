import CLinux
import Glibc
import Synchronization

/// Delivers signals to a `poll` loop: each one becomes a byte in a pipe.
///
/// One at a time in a process; a second traps. `deinit` restores what was before. A program calls `prepare()` before,
/// as early as it can.
package struct Signals: ~Copyable {
    /// What a signal asks a program to do.
    package enum Request: Equatable, Sendable {
        /// SIGTERM, SIGINT or SIGQUIT, or a SIGHUP because the controlling terminal is gone.
        case stop(CInt)
        /// SIGUSR1.
        case drain
        /// Any other SIGHUP.
        case reload
    }

    /// The signals that shut a program down, or make it read its settings again.
    package static let stopping: [CInt] = [SIGTERM, SIGINT, SIGQUIT, SIGHUP]

    /// The time after a SIGHUP until the terminal is checked again: some terminals send the signal before they close.
    private static let terminalCheckDelay = Duration.seconds(1)

    private let pipe: Pipe
    private let previous: [(signal: CInt, action: sigaction)]
    private let terminal: ControllingTerminal
    private var terminalIsGone = false
    /// When the terminal has to be checked again; `nil` if it need not be.
    private(set) package var nextCheck: BootTime?

    /// Takes over `signals`, with `sigaction(2)`; interrupted calls are restarted, except `poll`.
    ///
    /// A SIGHUP that was ignored at the start of the program stays ignored, as `nohup(1)` requires. SIGINT and SIGQUIT that
    /// were ignored, as a shell does for background programs, stay ignored from the keyboard, and are handled if a process
    /// sends them.
    ///
    /// To be called before other threads are started, because they inherit the mask.
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
        undelivered.store(0, ordering: .sequentiallyConsistent)
        var previous: [(signal: CInt, action: sigaction)] = []
        do throws(SystemError) {
            for signal in signals {
                let isIgnored = try disposition(of: signal) == .ignored
                if isIgnored, signal == SIGHUP { continue }
                let ignoresKeyboard = isIgnored && (signal == SIGINT || signal == SIGQUIT)
                let handler = unsafe ignoresKeyboard ? deliverIfSent : deliver
                previous.append((signal, try unsafe install(handler, for: signal)))
            }
            // By default it would end a program that does not use it.
            if !signals.contains(SIGUSR1), try disposition(of: SIGUSR1) == .standard {
                previous.append((SIGUSR1, try ignore(SIGUSR1)))
            }
        } catch {
            Self.restore(previous)
            throw error
        }
        self.previous = previous
        self.pipe = pipe
        terminal = ControllingTerminal()
        unblockAll()
    }

    deinit { Self.restore(previous) }

    /// Readable while a signal waits; to be polled.
    package var descriptor: CInt { pipe.reader.rawValue }

    /// The oldest signal that waits; `nil` if none does.
    package mutating func next() -> CInt? {
        var signal: UInt8 = 0
        let count = unsafe withUnsafeMutableBytes(of: &signal) { bytes in
            unsafe try? pipe.reader.read(into: bytes)  // Only EAGAIN can come: no signal waits.
        }
        if count == 1 { return CInt(signal) }
        let late = undelivered.exchange(0, ordering: .sequentiallyConsistent)
        return late == 0 ? nil : late
    }

    /// The oldest request that waits; `nil` if none does.
    ///
    /// The end of the terminal is one request, however many times SIGHUP arrives.
    package mutating func nextRequest(at now: BootTime = .now()) -> Request? {
        while let signal = next() {
            switch signal {
            case SIGUSR1: return .drain
            case SIGHUP where terminalIsGone: continue
            case SIGHUP where terminal.isGone: return terminalEnded()
            case SIGHUP:
                if terminal.existed { nextCheck = now.advanced(by: Self.terminalCheckDelay) }
                return .reload
            default: return .stop(signal)
            }
        }
        guard let check = nextCheck, check <= now else { return nil }
        nextCheck = nil
        return terminal.isGone ? terminalEnded() : nil
    }

    private mutating func terminalEnded() -> Request {
        (terminalIsGone, nextCheck) = (true, nil)
        return .stop(SIGHUP)
    }

    /// Blocks `signals` in this thread and in those that it starts, so that other threads receive them.
    package static func block(_ signals: [CInt]) { change(SIG_BLOCK, signals) }

    /// Unblocks signals that the thread's parent, or the parent process, had blocked.
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

extension Signals {
    /// Ignores the signals that end or suspend a process by default and are not meant to.
    ///
    /// SIGTSTP, SIGTTIN and SIGTTOU are among them: a suspended recorder misses media, and a terminal with `stty tostop`
    /// would suspend a background recorder that logs. Unchanged are the signals that stop, SIGKILL and SIGSTOP, and
    /// faults (SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS), after which the process cannot continue. SIGHUP
    /// and SIGUSR1 are blocked until there is a `Signals`, so that none is lost during the start.
    ///
    /// Programs that are started later begin with default dispositions and an empty mask, see `Subprocess.spawn`.
    package static func prepare() throws(SystemError) {
        var early = sigset_t()
        unsafe sigemptyset(&early)
        for signal in [SIGHUP, SIGUSR1] { unsafe sigaddset(&early, signal) }
        unsafe pthread_sigmask(SIG_SETMASK, &early, nil)
        let single: [CInt] = [
            SIGPIPE, SIGALRM, SIGUSR2, SIGSTKFLT, SIGXCPU, SIGXFSZ, SIGVTALRM, SIGPROF, SIGIO,
            SIGPWR, SIGTSTP, SIGTTIN, SIGTTOU,
        ]
        for signal in single + Array(realTimeSignals) where try disposition(of: signal) == .standard
        {
            _ = try ignore(signal)
        }
        // The C library reserves these two and refuses them, but without threads they still end the process.
        for signal: CInt in 32...33 { _ = clinux_ignore_if_default(signal) }
    }

    private static var realTimeSignals: ClosedRange<CInt> { 34...64 }
}

/// The terminal from which a program was started; it disappears with its window, or with the connection to the host.
private struct ControllingTerminal: Sendable {
    /// Whether there was one at the start.
    let existed: Bool

    init() { existed = Self.openingError == nil }

    /// Whether there was one, and it no longer exists.
    ///
    /// The kernel takes it from all processes of the session before it sends SIGHUP. Other errors, such as a lack of
    /// descriptors, prove nothing.
    var isGone: Bool {
        existed && (Self.openingError == ENXIO || Self.openingError == EIO)
    }

    private static var openingError: CInt? {
        do throws(SystemError) {
            _ = try FileDescriptor(opening: "/dev/tty", O_RDWR | O_NOCTTY | O_NONBLOCK)
            return nil
        } catch {
            return error.code
        }
    }
}

/// Where the handler writes; -1 without a `Signals`.
private let deliveryPipe = Atomic<CInt>(-1)

/// The last signal for which the pipe was full: a flood of one signal must not hide SIGTERM.
private let undelivered = Atomic<CInt>(0)

private typealias Handler =
    @convention(c) (CInt, UnsafeMutablePointer<siginfo_t>?, UnsafeMutableRawPointer?) -> Void

/// The handler: makes only calls that are safe in one (`signal-safety(7)`), and keeps `errno`.
private let deliver: Handler = { signal, _, _ in deliverByte(of: signal) }

/// The handler of a signal that was ignored at the start: one from the kernel, for the keyboard, stays ignored.
private let deliverIfSent: Handler = { signal, information, _ in
    let sentByKernel: CInt = 0x80  // `SI_KERNEL` of <signal.h>.
    guard let information = unsafe information,
        unsafe information.pointee.si_code != sentByKernel
    else { return }
    deliverByte(of: signal)
}

private func deliverByte(of signal: CInt) {
    let interrupted = errno
    var byte = UInt8(truncatingIfNeeded: signal)
    if unsafe write(deliveryPipe.load(ordering: .sequentiallyConsistent), &byte, 1) != 1 {
        undelivered.store(signal, ordering: .sequentiallyConsistent)
    }
    errno = interrupted
}

/// Unblocks all signals: a mask is inherited, and many supervisors start programs from threads that block everything.
private func unblockAll() {
    var none = sigset_t()
    unsafe sigemptyset(&none)
    unsafe pthread_sigmask(SIG_SETMASK, &none, nil)
}

private enum Disposition { case standard, ignored, handled }

private func disposition(of signal: CInt) throws(SystemError) -> Disposition {
    var action = sigaction()
    try retrying("sigaction \(signal)") { unsafe sigaction(signal, nil, &action) }
    // `SIG_DFL` and `SIG_IGN` are the addresses 0 and 1.
    switch unsafe unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self) {
    case 0: return .standard
    case 1: return .ignored
    default: return .handled
    }
}

private func ignore(_ signal: CInt) throws(SystemError) -> sigaction {
    var action = sigaction()
    var previous = sigaction()
    unsafe action.__sigaction_handler.sa_handler = SIG_IGN
    try retrying("sigaction \(signal)") { unsafe sigaction(signal, &action, &previous) }
    return previous
}

private func install(_ handler: Handler, for signal: CInt) throws(SystemError) -> sigaction {
    var action = sigaction()
    var previous = sigaction()
    unsafe action.__sigaction_handler.sa_sigaction = handler
    action.sa_flags = SA_RESTART | SA_SIGINFO
    try retrying("sigaction \(signal)") { unsafe sigaction(signal, &action, &previous) }
    return previous
}
