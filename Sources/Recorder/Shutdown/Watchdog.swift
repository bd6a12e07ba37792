import Glibc
import Posix
import Synchronization

/// Receives the signals, passes them to the main loop, and ends the process when the main loop does not.
///
/// Its thread waits for no lock and writes no log, so nothing that another thread holds can delay the end. All other
/// threads block the signals: the kernel prefers the main thread, and would leave them with it while it hangs.
final class Watchdog: Sendable {
    /// How long it waits for what.
    struct Timeouts: Sendable {
        /// From a signal to stop until the main loop turns, and from then on between its turns; then the recordings are stopped in its place.
        var signal: Duration
        /// For a main loop that stands still without a signal; then the recorder is stopped as if one had come.
        var loop: Duration
        /// From a signal to stop until the process ends, whatever holds up the shutdown.
        var end: Duration
    }

    /// A timeout is over when its thread has seen the main loop unchanged so often.
    ///
    /// By the clock alone, a process that was suspended would look as if it had hung.
    private static let observations: UInt64 = 5

    private let timeouts: Timeouts
    /// Gets a sign of life for as long as the main loop turns, or a shutdown is within its time.
    private let serviceManager: ServiceManager?
    /// Held by the thread for ever.
    private let signals: Mutex<Signals>
    private let caught: [CInt]
    /// What the main loop reads.
    private let relay: Pipe
    private let wakeup: Wakeup
    /// How often the main loop has turned.
    private let turns = Atomic<UInt64>(0)
    /// When the shutdown was asked for, on `CLOCK_BOOTTIME` in nanoseconds; `UInt64.max` before.
    private let requestedAt = Atomic<UInt64>(.max)
    /// Whether the shutdown is over: from then on only the time until the end counts.
    private let isShutDown = Atomic(false)
    /// The first signal to stop; 0 before.
    private let firstSignal = Atomic<Int32>(0)
    /// Tells the thread of `stopInPlace` to act.
    private let emergency: StopSignal

    /// Takes over `signals`, on a thread of its own; one that comes before the main loop waits is not lost.
    ///
    /// Before other threads are started: they take over the mask.
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

    /// Readable while a signal waits; to be polled.
    var descriptor: CInt { relay.reader.rawValue }

    /// Takes the oldest request that waits; `nil` when none does.
    func next() -> Signals.Request? {
        var byte: UInt8 = 0
        let count = unsafe withUnsafeMutableBytes(of: &byte) { bytes in
            unsafe try? relay.reader.read(into: bytes)  // Only EAGAIN can come: no signal waits.
        }
        guard count == 1 else { return nil }
        switch byte {
        case Self.drainByte: return .drain
        case Self.reloadByte: return .reload
        default: return .stop(CInt(byte))
        }
    }

    /// In the relay, beside the numbers of signals to stop.
    private static let drainByte: UInt8 = 0x80
    private static let reloadByte: UInt8 = 0x81

    /// Called by the main loop, at least once a second, and with each phase of a shutdown.
    func loopTurned() { turns.wrappingAdd(1, ordering: .relaxed) }

    /// Called when the shutdown has said its goodbye: the main loop turns no more, and nothing is to be done in its place.
    func shutdownEnded() {
        isShutDown.store(true, ordering: .relaxed)
        loopTurned()  // For a stop in its place that is under way.
    }

    /// Tells the service manager that the start is over.
    func reportReady() { serviceManager?.report(.ready) }

    /// Limits a shutdown that no signal has begun.
    func limitShutdown() {
        noteRequest()
        wakeup.wake()
    }

    /// Runs `stop` when the main loop stands still, on a thread that is started now: later there may be no room for one.
    ///
    /// `stop` gets a condition under which it goes on; the process ends when it returns and the condition still holds.
    func stopInPlace(
        _ stop: @escaping @Sendable (StopRequest, _ loopStandsStill: () -> Bool) -> Void
    ) throws(SystemError) {
        try DetachedThread.start(named: "emergency") { [self] in
            _ = emergency.wait(until: BootTime(nanoseconds: .max))
            let turnsBefore = turns.load(ordering: .relaxed)
            let standsStill = { [self] in turns.load(ordering: .relaxed) == turnsBefore }
            let request = StopRequest(
                signal: firstSignal.load(ordering: .relaxed),
                at: BootTime(nanoseconds: requestedAt.load(ordering: .relaxed))
            )
            stop(request, standsStill)
            if standsStill() { _exit(1) }
        }
    }
}

extension Watchdog {
    private func watch(_ signals: inout Signals) -> Never {
        var polled = PollSet()
        var seen = Observation(turns: turns.load(ordering: .relaxed))
        while true {
            polled.removeAll()
            polled.append(signals.descriptor, for: .reading)
            polled.append(wakeup.descriptor, for: .reading)
            let next = min(deadline, seen.at.advanced(by: pause))
            _ = try? polled.wait(until: min(next, signals.nextCheck ?? next))
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

    /// When the process ends at the latest.
    private var deadline: BootTime {
        let requestedAt = requestedAt.load(ordering: .relaxed)
        guard requestedAt != .max else { return BootTime(nanoseconds: .max) }
        return BootTime(nanoseconds: requestedAt).advanced(by: timeouts.end)
    }

    /// Between two observations of the main loop.
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
        try? relay.writer.writeAll(byte.span)  // Full: thousands wait already.
    }

    private func noteRequest() {
        let now = BootTime.now().nanoseconds
        let change = requestedAt.compareExchange(expected: .max, desired: now, ordering: .relaxed)
        if change.exchanged { serviceManager?.report(.stopping) }
    }

    private func stopWithoutLoop() {
        noteRequest()
        // For a main loop that turns again: what was begun in its place cannot be taken back.
        if firstSignal.load(ordering: .relaxed) == 0 { send(UInt8(SIGTERM)) }
        emergency.request()
    }

    /// What the thread has seen of the main loop.
    private struct Observation {
        var turns: UInt64
        var at = BootTime.now()
        /// How often it was seen with the same number of turns.
        var unchanged: UInt64 = 0

        init(turns: UInt64) { self.turns = turns }

        mutating func note(_ turns: UInt64, at now: BootTime) {
            unchanged = turns == self.turns ? unchanged + 1 : 0
            (self.turns, at) = (turns, now)
        }
    }
}

/// A shutdown that was asked for.
struct StopRequest: Sendable {
    /// 0 for none.
    let signal: CInt
    let at: BootTime
}

extension Watchdog.Timeouts {
    /// The loop turns every second, so less than two would be a false alarm on a busy machine.
    ///
    /// Longer than any phase in which it does not turn may take: the closing of the database, where there is no thread for it.
    init(_ plan: ShutdownPlan) {
        signal = max(.seconds(2), min(.seconds(5), plan.gracePeriod / 4))
        loop = .seconds(30)
        end = plan.longest
    }
}
