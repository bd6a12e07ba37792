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
            try Signals.ignoringBrokenPipe()
            var ends: [CInt] = [-1, -1]
            pipe(&ends)
            close(ends[0])
            let count = write(ends[1], "x", 1)
            exit(count == -1 ? errno : 0)
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
        var set = PollSet()
        set.append(signals.descriptor, for: .reading)
        while try set.wait(until: nil) == 0 {}
    }

    private func address(of action: sigaction) -> Int {
        unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self)
    }
}
