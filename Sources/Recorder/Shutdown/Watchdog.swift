import Glibc
import Posix
import Synchronization

/// Receives the signals, passes them to the main loop, and ends the process if the main loop does not.
///
/// Its thread waits for no lock and writes no log, so no other thread can delay the end. All other threads block the
/// signals: the kernel prefers the main thread for delivery, where they would remain while that thread hangs.
final class Watchdog: Sendable {
    struct Timeouts: Sendable {
        /// From a signal to stop until the main loop runs, and then between its turns; after it the recordings are stopped without the main loop.
        var signal: Duration
        /// Without a signal, between two turns of the main loop; after it the recorder is stopped as by a signal.
        var loop: Duration
        /// From a signal to stop until the process ends in any case.
        var end: Duration
    }

    /// Observations of an unchanged main loop that make up a timeout.
    ///
    /// By the clock alone, a process that was suspended would seem to hang.
    private static let observations: UInt64 = 5

    private let timeouts: Timeouts
    /// Receives keep-alive messages while the main loop runs, or a shutdown is within its time.
    private let serviceManager: ServiceManager?
    /// Locked by the thread for its lifetime.
    private let signals: Mutex<Signals>
    private let caught: [CInt]
    /// Passes requests to the main loop.
    private let relay: Pipe
    private let wakeup: Wakeup
    /// Turns of the main loop.
    private let turns = Atomic<UInt64>(0)
    /// When the shutdown was requested, on `CLOCK_BOOTTIME` in nanoseconds; `UInt64.max` before.
    private let requestedAt = Atomic<UInt64>(.max)
    /// Whether the shutdown is over: from then on only `Timeouts.end` counts.
    private let isShutDown = Atomic(false)
    /// The first signal to stop; 0 before.
    private let firstSignal = Atomic<Int32>(0)
    /// Starts the work of `stopInPlace`.
    private let emergency: StopSignal

    /// Receives `signals` on a thread of its own; a signal before the main loop waits is not lost.
    ///
    /// To be created before other threads are started, since they inherit the signal mask.
    init(
        _ timeouts: Timeouts,
        catching signals: [CInt] = Signals.stopping + [SIGUSR1],
        environment: [String: String] = [:]
    ) throws(SystemError) {
        self.timeouts = timeouts
        serviceManager = ServiceManager(environment)
        self.signals = Mutex(try Signals(signals))
        caught = signals
        relay = try Pipe()
        try relay.reader.makeNonblocking()
        try relay.writer.makeNonblocking()
        wakeup = try Wakeup()
        emergency = try StopSignal()
        Signals.block(signals)
        try DetachedThread.start(named: "watchdog") { [self] in
            Signals.unblock(caught)
            self.signals.withLock { watch(&$0) }
        }
    }

    /// Readable while a request waits.
    var descriptor: CInt { relay.reader.rawValue }

    /// Removes and returns the oldest request; `nil` if there is none.
    func next() -> Signals.Request? {
        var byte: UInt8 = 0
        let count = unsafe withUnsafeMutableBytes(of: &byte) { bytes in
            // Only EAGAIN is possible: no request waits.
            unsafe try? relay.reader.read(into: bytes)
        }
        guard count == 1 else { return nil }
        switch byte {
        case Self.drainByte: return .drain
        case Self.reloadByte: return .reload
        default: return .stop(CInt(byte))
        }
    }

    /// Bytes in the relay besides the numbers of signals to stop.
    private static let drainByte: UInt8 = 0x80
    private static let reloadByte: UInt8 = 0x81

    /// Called by the main loop at least once a second, and for each phase of a shutdown.
    func loopTurned() { turns.wrappingAdd(1, ordering: .relaxed) }

    /// Called when the shutdown has published its end: the main loop does not run any more, and must not be replaced.
    func shutdownEnded() {
        isShutDown.store(true, ordering: .relaxed)
        loopTurned()  // For a stop without the main loop that is in progress.
    }

    /// Reports to the service manager that the start is complete.
    func reportReady() { serviceManager?.report(.ready) }

    /// Limits the time of a shutdown that began without a signal.
    func limitShutdown() {
        noteRequest()
        wakeup.wake()
    }

    /// Runs `stop` if the main loop hangs, on a thread that is started now: later it may be impossible to start one.
    ///
    /// `stop` gets a condition under which it continues; if the condition still holds when it returns, the process ends.
    func stopInPlace(
        _ stop: @escaping @Sendable (StopRequest, _ loopHangs: () -> Bool) -> Void
    ) throws(SystemError) {
        try DetachedThread.start(named: "emergency") { [self] in
            _ = emergency.wait(until: BootTime(nanoseconds: .max))
            let turnsBefore = turns.load(ordering: .relaxed)
            let hangs = { [self] in turns.load(ordering: .relaxed) == turnsBefore }
            let request = StopRequest(
                signal: firstSignal.load(ordering: .relaxed),
                at: BootTime(nanoseconds: requestedAt.load(ordering: .relaxed))
            )
            stop(request, hangs)
            if hangs() { _exit(1) }
        }
    }
}

extension Watchdog {
    private func watch(_ signals: inout Signals) -> Never {
        var loop = EventLoop()
        var seen = Observation(turns: turns.load(ordering: .relaxed))
        while true {
            loop.begin()
            loop.watch(signals.descriptor, for: .reading)
            loop.watch(wakeup.descriptor, for: .reading)
            let next = min(deadline, seen.at.advanced(by: pause))
            _ = try? loop.wait(until: min(next, signals.nextCheck ?? next))
            wakeup.clear()
            while let request = signals.nextRequest() {
                pass(request)
                seen = Observation(turns: turns.load(ordering: .relaxed))
            }
            let now = BootTime.now()
            if now >= deadline { _exit(1) }
            guard now >= seen.at.advanced(by: pause) else { continue }
            seen.note(turns.load(ordering: .relaxed), at: now)
            if seen.unchanged == 0 || isStopping { serviceManager?.report(.alive) }
            if seen.unchanged == Self.observations, !isShutDown.load(ordering: .relaxed) {
                stopWithoutLoop()
            }
        }
    }

    /// The latest end of the process.
    private var deadline: BootTime {
        let requestedAt = requestedAt.load(ordering: .relaxed)
        guard requestedAt != .max else { return BootTime(nanoseconds: .max) }
        return BootTime(nanoseconds: requestedAt).advanced(by: timeouts.end)
    }

    /// The time between two observations of the main loop.
    private var pause: Duration {
        (isStopping ? timeouts.signal : timeouts.loop) / Int(Self.observations)
    }

    private var isStopping: Bool { requestedAt.load(ordering: .relaxed) != .max }

    private func pass(_ request: Signals.Request) {
        switch request {
        case .stop(let signal):
            noteRequest()
            _ = firstSignal.compareExchange(expected: 0, desired: signal, ordering: .relaxed)
            send(UInt8(truncatingIfNeeded: signal))
        case .drain: send(Self.drainByte)
        case .reload: send(Self.reloadByte)
        }
    }

    private func send(_ byte: UInt8) {
        let byte = [byte]
        try? relay.writer.writeAll(byte.span)  // A full pipe: thousands of requests wait already.
    }

    private func noteRequest() {
        let now = BootTime.now().nanoseconds
        let change = requestedAt.compareExchange(expected: .max, desired: now, ordering: .relaxed)
        if change.exchanged { serviceManager?.report(.stopping) }
    }

    private func stopWithoutLoop() {
        noteRequest()
        // For a main loop that runs again: a stop that has begun cannot be undone.
        if firstSignal.load(ordering: .relaxed) == 0 { send(UInt8(SIGTERM)) }
        emergency.request()
    }

    /// The main loop's progress, as the thread has observed it.
    private struct Observation {
        var turns: UInt64
        var at = BootTime.now()
        /// Consecutive observations of the same number of turns.
        var unchanged: UInt64 = 0

        init(turns: UInt64) { self.turns = turns }

        mutating func note(_ turns: UInt64, at now: BootTime) {
            unchanged = turns == self.turns ? unchanged + 1 : 0
            (self.turns, at) = (turns, now)
        }
    }
}

/// A requested shutdown.
struct StopRequest: Sendable {
    /// 0 if no signal requested it.
    let signal: CInt
    let at: BootTime
}

extension Watchdog.Timeouts {
    /// The main loop runs every second, so less than two seconds would cause false alarms on a busy machine.
    ///
    /// `loop` is longer than the closing of the database, which blocks the main loop if no thread can be started for it.
    init(_ plan: ShutdownPlan) {
        signal = max(.seconds(2), min(.seconds(5), plan.gracePeriod / 4))
        loop = .seconds(30)
        end = plan.totalTime
    }
}
