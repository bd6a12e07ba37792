import Glibc
import Posix

/// What the main thread waits for: signals, news from other threads, and times.
struct MainLoop: ~Copyable {
    private let watchdog: Watchdog?
    private let wakeup: Wakeup
    private var loop = EventLoop()
    /// Signal received during another wait; returned by the next call.
    private var heldSignal: CInt?
    private var isReloadRequested = false

    /// Gets its signals from `watchdog`; there are none without it.
    init(_ wakeup: Wakeup, _ watchdog: Watchdog? = nil) {
        (self.wakeup, self.watchdog) = (wakeup, watchdog)
    }

    /// Waits for a signal, a wake-up or `deadline`.
    ///
    /// - Returns: the oldest signal that stops the recorder, or drains it (SIGUSR1); `nil` for the other two.
    mutating func wait(until deadline: BootTime) throws(SystemError) -> CInt? {
        watchdog?.loopTurned()
        if let signal = heldSignal.take() ?? nextSignal() { return signal }
        loop.begin()
        if let watchdog { loop.watch(watchdog.descriptor, for: .reading) }
        loop.watch(wakeup.descriptor, for: .reading)
        _ = try loop.wait(until: deadline)
        watchdog?.loopTurned()
        wakeup.clear()
        return nextSignal()
    }

    /// Tells the watchdog that the main thread gets on, where it does not wait: a shutdown, from phase to phase.
    func noteProgress() { watchdog?.loopTurned() }

    /// Whether a SIGHUP has asked to reload since the last call.
    mutating func takeReload() -> Bool {
        defer { isReloadRequested = false }
        return isReloadRequested
    }

    private mutating func nextSignal() -> CInt? {
        while let request = watchdog?.next() {
            switch request {
            case .stop(let signal): return signal
            case .drain: return SIGUSR1
            case .reload: isReloadRequested = true
            }
        }
        return nil
    }

    /// Waits for something that ends in a wake-up, or for a signal, which the next `wait` returns.
    ///
    /// - Returns: whether it `isDone`.
    mutating func wait(until isDone: () -> Bool) throws(SystemError) -> Bool {
        while !isDone() {
            heldSignal = try wait(until: BootTime.now().advanced(by: .seconds(1)))
            if heldSignal != nil { return false }
        }
        return true
    }
}
