import Glibc
import Posix

/// What the main thread waits for: signals, news from other threads, and times.
struct MainLoop: ~Copyable {
    private let watchdog: Watchdog?
    private let wakeup: Wakeup
    private var polled = PollSet()
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
        polled.removeAll()
        if let watchdog { polled.append(watchdog.descriptor, for: .reading) }
        polled.append(wakeup.descriptor, for: .reading)
        do throws(SystemError) {
            _ = try polled.wait(until: deadline)
        } catch {
            usleep(100_000)  // The kernel is out of memory: that ends no recording.
        }
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

/// Lets any thread wake one that polls, such as the main thread.
final class Wakeup: Sendable {
    private let pipe: Pipe

    init() throws(SystemError) {
        pipe = try Pipe()
        try pipe.reader.makeNonblocking()
        try pipe.writer.makeNonblocking()
    }

    var descriptor: CInt { pipe.reader.rawValue }

    func wake() {
        let byte: [UInt8] = [1]
        try? pipe.writer.writeAll(byte.span)  // A full pipe wakes as well.
    }

    /// For the thread that is woken.
    func clear() {
        var bytes = [UInt8](repeating: 0, count: 64)
        unsafe bytes.withUnsafeMutableBytes { buffer in
            while let count = unsafe try? pipe.reader.read(into: buffer), count == 64 {}
        }
    }
}
