import Glibc
import Posix

/// One run of a program: moves its output to the sink, and sees to its end.
///
/// The end of the output is not the end of the program, nor the other way round: a program may close its output and go
/// on, and programs that it started may hold the pipe when it is gone. After the first of the two the rest is told
/// to end, in stages, and after the last stage the pipe is closed, whoever holds it.
struct CommandRun: ~Copyable {
    private var child: ChildProcess
    private var output: SplittingOutput
    private let stop: StopSignal
    private let stages: [StopStage]
    private let leftoverPatience: Duration
    private let log: @Sendable (String) -> Void

    private var buffer = PipeBuffer()
    private var lines = ErrorLines()
    private var budget = LineBudget()
    private var outputIsOpen = true
    private var errorsAreOpen = true
    private var isStopping = false
    private var ladder: StopLadder?
    private var wasSignalled = false
    /// What the program had started when it was signalled.
    private var known: [ProcessEntry] = []

    private static let knownLimit = 1000

    init(
        child: consuming ChildProcess,
        sink: any MediaSink,
        stop: StopSignal,
        stages: [StopStage],
        leftoverPatience: Duration,
        log: @escaping @Sendable (String) -> Void
    ) {
        (output, self.stop, self.stages) = (SplittingOutput(into: sink), stop, stages)
        (self.leftoverPatience, self.log) = (leftoverPatience, log)
        self.child = child
        enlargePipe(self.child.output)
    }

    /// Runs to the end; a child that is still there when this throws is killed.
    consuming func finish() throws(SourceError) -> CommandOutcome {
        while outputIsOpen || !child.hasExited() {
            escalateIfDue()
            guard let deadline = try climb() else { break }
            try move(until: deadline)
        }
        try drainOutput()
        try drainErrors()
        if !child.hasExited() { child.signalAll(SIGKILL) }
        child.endDescendants(
            known,
            within: isStopping ? stages.last?.patience ?? .zero : leftoverPatience
        )
        return CommandOutcome(
            status: child.wait(),
            wasSignalled: wasSignalled,
            lastLine: lines.last
        )
    }

    /// Begins the way to the end on the first reason for it; a request to stop does not wait for leftovers.
    private mutating func escalateIfDue() {
        if stop.isRequested, !isStopping {
            isStopping = true
            ladder = StopLadder(stages, at: .now())
        } else if ladder == nil, !outputIsOpen || child.hasExited() {
            let pause = StopStage(signal: nil, patience: leftoverPatience)
            ladder = StopLadder([pause] + stages, at: .now())
        }
    }

    /// Sends the signals that are due; the time until which to wait, or `nil` when all stages have passed.
    private mutating func climb() throws(SourceError) -> BootTime? {
        // Neither the child's end nor that of its last relative can be waited for beside a pipe: look often.
        let now = BootTime.now()
        let look = now.advanced(by: .milliseconds(ladder == nil ? 200 : 20))
        while let step = ladder?.step(at: now) {
            switch step {
            case .signal(let signal): tell(signal)
            case .wait(let deadline): return min(deadline, look)
            case .giveUp: return nil
            }
        }
        return look
    }

    private mutating func tell(_ signal: CInt) {
        // A program that had ended by itself has not ended because of us.
        if !child.hasExited() { wasSignalled = true }
        known = child.signalAll(signal) + known.prefix(Self.knownLimit)
    }

    /// Waits for output until `deadline`, and takes what there is.
    private mutating func move(until deadline: BootTime) throws(SourceError) {
        var entries = [
            pollfd(fd: outputIsOpen ? child.output.rawValue : -1, events: readable, revents: 0),
            pollfd(fd: errorsAreOpen ? child.errors.rawValue : -1, events: readable, revents: 0),
            pollfd(fd: isStopping ? -1 : stop.readableDescriptor, events: readable, revents: 0),
        ]
        let milliseconds = deadline.since(.now()).wholeNanoseconds / 1_000_000 + 1
        guard unsafe poll(&entries, nfds_t(entries.count), CInt(clamping: milliseconds)) > 0 else {
            return
        }
        if entries[0].revents != 0 { try moveOutput() }
        if entries[1].revents != 0 { try moveErrors() }
    }
}

private let readable = Int16(POLLIN)

extension CommandRun {
    private mutating func moveOutput() throws(SourceError) {
        try buffer.fill(from: child.output)
        if buffer.isEmpty { outputIsOpen = false }
        do throws(SystemError) {
            if outputIsOpen { try output.append(buffer.bytes) }
        } catch {
            throw .sink(error)
        }
    }

    /// Takes what stands in the pipe when the time is over: it is the disk that was slow, not the program.
    ///
    /// As much as a pipe holds, because another program may be writing on.
    private mutating func drainOutput() throws(SourceError) {
        var rest = pipeBytes
        while outputIsOpen, rest > 0, hasNews(child.output) {
            try moveOutput()
            rest -= buffer.bytes.count
        }
        do throws(SystemError) {
            try output.finish()
        } catch {
            throw .sink(error)
        }
    }

    private mutating func moveErrors() throws(SourceError) {
        try buffer.fill(from: child.errors)
        if buffer.isEmpty { errorsAreOpen = false }
        emit(lines.append(buffer.bytes.span))
    }

    /// Takes what the program said last; bounded, because another program may be writing on.
    private mutating func drainErrors() throws(SourceError) {
        for _ in 0..<64 where errorsAreOpen && hasNews(child.errors) { try moveErrors() }
        emit(lines.finish())
    }

    private mutating func emit(_ lines: [String]) {
        let second = BootTime.now().nanoseconds / 1_000_000_000
        for line in lines {
            let (passes, dropped) = budget.take(at: second)
            if dropped > 0 { log("\(dropped) lines left out") }
            if passes { log(line) }
        }
    }
}

/// Whether a read would not wait.
private func hasNews(_ pipe: borrowing FileDescriptor) -> Bool {
    var entry = pollfd(fd: pipe.rawValue, events: readable, revents: 0)
    return unsafe poll(&entry, 1, 0) > 0
}

/// What one `read(2)` of a pipe brought.
private struct PipeBuffer {
    private var storage = [UInt8](repeating: 0, count: 64 << 10)
    private var count = 0

    var isEmpty: Bool { count == 0 }
    var bytes: ArraySlice<UInt8> { storage[..<count] }

    /// Empty afterwards when every writer has closed.
    mutating func fill(from pipe: borrowing FileDescriptor) throws(SourceError) {
        do throws(SystemError) {
            count = try unsafe storage.withUnsafeMutableBufferPointer {
                buffer throws(SystemError) in
                try unsafe pipe.read(into: UnsafeMutableRawBufferPointer(buffer))
            }
        } catch {
            throw .program("its output could not be read: \(error)")
        }
    }
}

private let pipeBytes = 1 << 20

/// Lets a slow disk delay the program less often; the standard 64 KiB are half a second of a good stream.
private func enlargePipe(_ pipe: borrowing FileDescriptor) {
    let setPipeSize: CInt = 1031  // `F_SETPIPE_SZ` of <fcntl.h>, which the Glibc module leaves out.
    _ = fcntl(pipe.rawValue, setPipeSize, CInt(pipeBytes))
}
