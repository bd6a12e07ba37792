import Glibc
import Posix
import Testing

@Suite("Signals", .serialized, .timeLimit(.minutes(5)))
struct SignalsTests {
    @Test("arrive in their order, each one once")
    func order() throws {
        var signals = try Signals([SIGUSR1, SIGUSR2])
        #expect(signals.next() == nil)
        try send(SIGUSR2, to: signals)
        kill(getpid(), SIGUSR1)
        #expect(try take(from: &signals) == SIGUSR2)
        #expect(try take(from: &signals) == SIGUSR1)
        #expect(signals.next() == nil)
    }

    @Test("give back what was before")
    func restored() throws {
        var before = sigaction()
        var during = sigaction()
        var after = sigaction()
        sigaction(SIGHUP, nil, &before)
        do {
            let signals = try Signals([SIGHUP])
            sigaction(SIGHUP, nil, &during)
            _ = signals.descriptor
        }
        sigaction(SIGHUP, nil, &after)
        #expect(address(of: during) != address(of: before))
        #expect(address(of: after) == address(of: before))
    }

    @Test("that cannot be caught are refused, and leave room for the next")
    func refused() throws {
        #expect(throws: SystemError(call: "sigaction \(SIGKILL)", code: EINVAL)) {
            _ = try Signals([SIGUSR1, SIGKILL])
        }
        _ = try Signals([SIGUSR1])
    }

    @Test("are delivered to one owner only")
    func once() async {
        await #expect(processExitsWith: .failure) {
            let first = try Signals([SIGUSR1])
            let second = try Signals([SIGUSR2])
            _ = (first.descriptor, second.descriptor)
        }
    }

    @Test("a broken pipe is an error where SIGPIPE is ignored")
    func brokenPipe() async {
        await #expect(processExitsWith: .exitCode(EPIPE)) {
            try Signals.prepare()
            var ends: [CInt] = [-1, -1]
            pipe(&ends)
            close(ends[0])
            let count = write(ends[1], "x", 1)
            exit(count == -1 ? errno : 0)
        }
    }

    @Test("what ends or suspends a process by default, and is no request, changes nothing")
    func strayed() async {
        await #expect(processExitsWith: .exitCode(0)) {
            try Signals.prepare()
            let signals = try Signals(Signals.stopping)
            let faults = [SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS]
            let asked = Signals.stopping + faults + [SIGKILL, SIGSTOP]
            for signal: CInt in 1...64 where !asked.contains(signal) { kill(getpid(), signal) }
            _ = signals.descriptor
            exit(0)
        }
    }

    @Test("a signal that the parent had blocked comes through")
    func blocked() async {
        await #expect(processExitsWith: .exitCode(0)) {
            var all = sigset_t()
            sigfillset(&all)
            pthread_sigmask(SIG_SETMASK, &all, nil)
            try Signals.prepare()
            raise(SIGHUP)
            var signals = try Signals(Signals.stopping)
            raise(SIGTERM)
            var received: Set<CInt> = []
            while let signal = signals.next() { received.insert(signal) }
            exit(received == [SIGHUP, SIGTERM] ? 0 : 1)
        }
    }

    @Test("one that arrives when the pipe is full is not lost")
    func flood() async {
        await #expect(processExitsWith: .exitCode(0)) {
            var signals = try Signals([SIGUSR1, SIGTERM])
            for _ in 0..<70_000 { raise(SIGUSR1) }
            raise(SIGTERM)
            var last: CInt = 0
            while let signal = signals.next() { last = signal }
            exit(last == SIGTERM ? 0 : 1)
        }
    }

    @Test(
        "a SIGHUP that was ignored stays ignored, and a SIGINT that was is obeyed when it is sent"
    )
    func inherited() async {
        await #expect(processExitsWith: .exitCode(0)) {
            for signal in [SIGHUP, SIGINT, SIGQUIT] { _ = Glibc.signal(signal, SIG_IGN) }
            try Signals.prepare()
            var signals = try Signals(Signals.stopping)
            raise(SIGHUP)
            raise(SIGINT)
            let first = signals.next()
            exit(first == SIGINT && signals.next() == nil ? 0 : 1)
        }
    }

    @Test(
        "ask for a stop, a drain or a reload",
        arguments: [
            (SIGTERM, .stop(SIGTERM)), (SIGINT, .stop(SIGINT)), (SIGQUIT, .stop(SIGQUIT)),
            (SIGHUP, .reload), (SIGUSR1, .drain),
        ] as [(CInt, Signals.Request)]
    )
    func requests(_ signal: CInt, _ request: Signals.Request) throws {
        var signals = try Signals(Signals.stopping + [SIGUSR1])
        try send(signal, to: signals)
        #expect(signals.nextRequest() == request)
        #expect(signals.nextRequest() == nil)
    }

    @Test("standard descriptors that are closed are opened on /dev/null, and the others stay")
    func standardDescriptors() async {
        await #expect(processExitsWith: .exitCode(0)) {
            for closed in [[0], [2], [0, 1], [0, 1, 2]] as [[CInt]] {
                for number in closed { close(number) }
                FileDescriptor.openStandard()
                var (null, status) = (stat(), stat())
                stat("/dev/null", &null)
                for number in closed {
                    guard fstat(number, &status) == 0, status.st_rdev == null.st_rdev else {
                        exit(1)
                    }
                }
            }
            let next = open("/dev/null", O_RDONLY)
            exit(next > 2 ? 0 : 1)
        }
    }

    /// Sends one and waits until it has arrived, because different signals have no order between them.
    private func send(_ signal: CInt, to signals: borrowing Signals) throws {
        kill(getpid(), signal)
        try wait(for: signals)
    }

    private func take(from signals: inout Signals) throws -> CInt? {
        try wait(for: signals)
        return signals.next()
    }

    private func wait(for signals: borrowing Signals) throws {
        var loop = EventLoop()
        loop.watch(signals.descriptor, for: .reading)
        while try loop.wait(until: nil) == 0 {}
    }

    private func address(of action: sigaction) -> Int {
        unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self)
    }
}
