import Fetch
import Glibc
import Media
import Posix

/// Why a command cannot be recorded, in one line.
struct CommandError: Error, Equatable, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}

/// Reads the media that a program writes to its standard output, and ends the program.
///
/// The end of the output is not the end of the program, nor the reverse: a program may close its output and continue, and
/// programs that it started may hold the pipe when it is gone. After the first of the two, everything that is left is
/// asked to end, step by step; after the last step the pipe is closed, whoever holds it. A reader that is dropped kills its program.
struct CommandReader: ~Copyable {
    enum Item: Equatable {
        case output(ArraySlice<UInt8>)
        /// The output can be cut here: the next recording begins with `tables`, and continues with `media`.
        case cut(tables: [UInt8], media: [UInt8])
        /// A place to cut the output has been searched for 30 s; the search continues.
        case noCutFound
        /// A line of the program's standard error, without secrets.
        case errorLine(String)
        /// The program has ended by itself, with exit code 0, or because it was told to after it had closed its output.
        case ended
        /// The program has failed, or its output cannot be read.
        case failed(CommandError)
        /// The program has ended because of the stop; its exit code does not count: `streamlink` ends with 130.
        case stopped
    }

    private enum State {
        case running
        /// The time for the program is over; at most so many bytes are still read from its output.
        case draining(Int)
        case finished
    }

    private let name: String
    private var child: Subprocess
    private let steps: [StopStep]
    private let orphanTimeout: Duration
    private var state = State.running
    /// What was read and not returned yet.
    private var items: [Item] = []

    private var buffer = PipeBuffer()
    private var outputIsOpen = true
    private var errorsAreOpen = true
    private var errorOutput = ErrorOutput()
    private var budget = LineBudget()

    /// While a place to cut is searched for.
    private var cutter: TransportStreamCutter?
    /// When to report that none was found.
    private var cutReportDue: BootTime?

    private var loop = EventLoop()
    private var isStopping = false
    private var escalation: StopEscalation?
    private var wasSignalled = false
    /// The processes that the program had started when it was signalled.
    private var descendants: [ProcessEntry] = []

    private static let maxDescendants = 1000
    private static let cutReportDelay = Duration.seconds(30)

    /// Starts the program that `arguments` name, looked up in `PATH`.
    ///
    /// `orphanTimeout` is the time for a program that has closed its output, and for the programs that it left behind.
    init(
        _ arguments: [String],
        steps: [StopStep] = StopStep.standard,
        orphanTimeout: Duration = .seconds(2)
    ) throws(CommandError) {
        name = arguments.first ?? ""
        (self.steps, self.orphanTimeout) = (steps, orphanTimeout)
        do throws(SpawnError) {
            child = try Subprocess.spawn(arguments)
        } catch {
            switch error {
            case .notFound: throw CommandError("\(name) was not found")
            case .notExecutable: throw CommandError("\(name) may not be executed")
            case .system(let error): throw CommandError("\(name) could not be started: \(error)")
            }
        }
        // Lets a slow disk delay the program less often; the standard 64 KiB are half a second of a good stream.
        child.output.setPipeCapacity(pipeBytes)
    }

    /// Waits for the next item; `.ended`, `.failed` and `.stopped` are the last ones.
    ///
    /// With `cutting`, a place is searched for where the output can be cut in two parts that each play by themselves.
    mutating func next(until stop: StopSignal, cutting: Bool) -> Item {
        do throws(CommandError) {
            return try read(until: stop, cutting)
        } catch {
            return .failed(error)
        }
    }

    private mutating func read(
        until stop: StopSignal,
        _ cutting: Bool
    ) throws(CommandError) -> Item {
        while true {
            if !items.isEmpty { return items.removeFirst() }
            switch state {
            case .running:
                guard outputIsOpen || !child.hasExited(), let deadline = escalate(stop) else {
                    state = .draining(pipeBytes)
                    continue
                }
                try wait(until: deadline, or: stop, cutting)
            case .draining(let rest):
                // What is left in the pipe: the disk was slow, not the program. Another program may be writing on, so no more
                // than a pipe holds.
                if outputIsOpen, rest > 0, hasInput(child.output) {
                    try readOutput(cutting)
                    state = .draining(rest - buffer.count)
                    continue
                }
                if let rest = cutter.take()?.rest, !rest.isEmpty {
                    items.append(.output(rest[...]))
                }
                for _ in 0..<64 where errorsAreOpen && hasInput(child.errors) { try readErrors() }
                report(errorOutput.finish())
                state = .finished
            case .finished: return try end(stop)
            }
        }
    }

    private mutating func end(_ stop: StopSignal) throws(CommandError) -> Item {
        if !child.hasExited() { child.signalAll(SIGKILL) }
        let timeout = isStopping ? steps.last?.timeout ?? .zero : orphanTimeout
        child.endDescendants(descendants, within: timeout)
        let status = child.wait()
        if stop.isRequested { return .stopped }
        if wasSignalled || status == .code(0) { return .ended }
        let event =
            switch status {
            case .code(let code): "\(name) exited with \(code)"
            case .signal(let signal): "\(name) was ended by signal \(signal)"
            case .unknown: "\(name) ended, with an unknown status"
            }
        let line = errorOutput.last
        throw CommandError(line.isEmpty ? event : "\(event); \(line)")
    }

    /// Sends the signals that are due.
    ///
    /// - Returns: until when to wait, or `nil` after the last step.
    private mutating func escalate(_ stop: StopSignal) -> BootTime? {
        let now = BootTime.now()
        // A requested stop does not wait for what the program left behind.
        if stop.isRequested, !isStopping {
            isStopping = true
            escalation = StopEscalation(steps, at: now)
        } else if escalation == nil, !outputIsOpen || child.hasExited() {
            escalation = StopEscalation([StopStep(timeout: orphanTimeout)] + steps, at: now)
        }
        // Without a descriptor for the end of the child, that has to be checked often.
        let check =
            child.exitDescriptor == nil ? now.advanced(by: .milliseconds(50)) : .distantFuture
        while let action = escalation?.next(at: now) {
            switch action {
            case .signal(let signal):
                // A program that had ended by itself has not ended because of the signal.
                if !child.hasExited() { wasSignalled = true }
                descendants =
                    child.signalAll(signal) + descendants.prefix(Self.maxDescendants)
            case .wait(let deadline): return min(deadline, check)
            case .giveUp: return nil
            }
        }
        return check
    }

    /// Waits for input until `deadline`, and reads what there is.
    private mutating func wait(
        until deadline: BootTime,
        or stop: StopSignal,
        _ cutting: Bool
    ) throws(CommandError) {
        loop.begin()
        let output = loop.watch(child.output.rawValue, for: outputIsOpen ? .reading : .nothing)
        let errors = loop.watch(child.errors.rawValue, for: errorsAreOpen ? .reading : .nothing)
        loop.watch(stop.readableDescriptor, for: isStopping ? .nothing : .reading)
        if let exit = child.exitDescriptor, !child.hasExited() { loop.watch(exit, for: .reading) }
        do throws(SystemError) {
            try loop.wait(until: deadline)
        } catch {
            throw CommandError("the output of \(name) could not be waited for: \(error)")
        }
        if loop.isReady(output) { try readOutput(cutting) }
        if loop.isReady(errors) { try readErrors() }
    }

    private mutating func readOutput(_ cutting: Bool) throws(CommandError) {
        try buffer.fill(from: child.output)
        outputIsOpen = buffer.count > 0
        guard outputIsOpen else { return }
        guard cutting || cutter != nil else { return items.append(.output(buffer.bytes)) }
        if cutter == nil { cutReportDue = BootTime.now().advanced(by: Self.cutReportDelay) }
        var cutter = cutter.take() ?? TransportStreamCutter()
        let progress = cutter.take(buffer.bytes)
        if !progress.before.isEmpty { items.append(.output(progress.before[...])) }
        if let cut = progress.cut {
            return items.append(.cut(tables: cut.tables, media: cut.media))
        }
        self.cutter = cutter
        if let due = cutReportDue, due <= .now() {
            cutReportDue = nil
            items.append(.noCutFound)
        }
    }

    private mutating func readErrors() throws(CommandError) {
        try buffer.fill(from: child.errors)
        errorsAreOpen = buffer.count > 0
        report(errorOutput.append(buffer.bytes.span))
    }

    private mutating func report(_ lines: [String]) {
        let second = BootTime.now().nanoseconds / 1_000_000_000
        for line in lines {
            let (passes, dropped) = budget.take(at: second)
            if dropped > 0 { items.append(.errorLine("\(dropped) lines dropped")) }
            if passes { items.append(.errorLine(line)) }
        }
    }
}

private let pipeBytes = 1 << 20

/// Whether a read would not wait.
private func hasInput(_ pipe: borrowing FileDescriptor) -> Bool {
    (try? pipe.isReady(for: .reading, until: .now())) ?? false
}

/// The bytes of one `read(2)` of a pipe.
private struct PipeBuffer {
    private var storage = [UInt8](repeating: 0, count: 64 << 10)
    /// 0 when every writer has closed the pipe.
    private(set) var count = 0

    var bytes: ArraySlice<UInt8> { storage[..<count] }

    mutating func fill(from pipe: borrowing FileDescriptor) throws(CommandError) {
        do throws(SystemError) {
            count = try unsafe storage.withUnsafeMutableBufferPointer {
                buffer throws(SystemError) in
                try unsafe pipe.read(into: UnsafeMutableRawBufferPointer(buffer))
            }
        } catch {
            throw CommandError("its output could not be read: \(error)")
        }
    }
}

/// Cuts what a program writes to its standard error into lines for the log.
///
/// A carriage return ends a line too: progress displays overwrite themselves with it. Lines are truncated to `maxBytes`,
/// and lose control characters, and the users and queries of addresses, which contain passwords and tokens.
struct ErrorOutput {
    private var line: [UInt8] = []
    private let maxBytes: Int

    /// The latest line that was not empty.
    private(set) var last = ""

    init(maxBytes: Int = 512) {
        self.maxBytes = maxBytes
    }

    /// The lines that `bytes` complete.
    mutating func append(_ bytes: Span<UInt8>) -> [String] {
        var complete: [String] = []
        for index in bytes.indices {
            let byte = bytes[index]
            if byte == UInt8(ascii: "\n") || byte == UInt8(ascii: "\r") {
                complete += finish()
            } else if line.count < maxBytes {
                line.append(byte < 0x20 || byte == 0x7f ? UInt8(ascii: " ") : byte)
            }
        }
        return complete
    }

    /// The line that the end of the output completes.
    mutating func finish() -> [String] {
        guard !line.isEmpty else { return [] }
        last = redacted(String(decoding: line, as: UTF8.self))
        line.removeAll(keepingCapacity: true)
        return [last]
    }
}

/// Limits the lines per second that reach the log, so that a broken program does not fill the disk with them.
struct LineBudget {
    private let perSecond: Int
    private var second: UInt64 = 0
    private var used = 0
    private var dropped = 0

    init(perSecond: Int = 50) {
        self.perSecond = perSecond
    }

    /// Whether a line at `seconds` may pass, and how many were dropped before it.
    mutating func take(at seconds: UInt64) -> (passes: Bool, droppedBefore: Int) {
        if seconds != second { (second, used) = (seconds, 0) }
        guard used < perSecond else {
            dropped += 1
            return (false, 0)
        }
        used += 1
        defer { dropped = 0 }
        return (true, dropped)
    }
}

/// A signal that asks a program to end, and the time that the program has for that.
struct StopStep: Equatable, Sendable {
    /// For the program's process group; `nil` only waits.
    var signal: CInt?
    var timeout: Duration

    /// SIGINT, on which recording programs complete their output, then SIGTERM, then SIGKILL.
    static let standard = [
        StopStep(signal: SIGINT, timeout: .seconds(2)),
        StopStep(signal: SIGTERM, timeout: .seconds(2)),
        StopStep(signal: SIGKILL, timeout: .seconds(1)),
    ]
}

extension [StopStep] {
    /// The same steps, all shortened by the same factor if together they would take longer than `max`.
    func fitted(into max: Duration) -> [StopStep] {
        let total = reduce(Duration.zero) { $0 + $1.timeout }
        guard total > max else { return self }
        return map { StopStep(signal: $0.signal, timeout: $0.timeout * (max / total)) }
    }
}

/// Which step is due to end a program; pure.
struct StopEscalation {
    enum Action: Equatable {
        /// Nothing is due before this time.
        case wait(until: BootTime)
        case signal(CInt)
        /// The time of the last step is over.
        case giveUp
    }

    private var rest: ArraySlice<StopStep>
    private var deadline: BootTime

    /// The first step is due at `now`.
    init(_ steps: [StopStep], at now: BootTime) {
        rest = steps[...]
        deadline = now
    }

    /// What to do at `now`; returns each step's signal once.
    mutating func next(at now: BootTime) -> Action {
        while now >= deadline {
            guard let step = rest.popFirst() else { return .giveUp }
            deadline = now.advanced(by: step.timeout)
            if let signal = step.signal { return .signal(signal) }
        }
        return .wait(until: deadline)
    }
}
