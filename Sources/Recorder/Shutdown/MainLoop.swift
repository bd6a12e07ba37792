import Glibc
import Posix

/// What the main thread waits for: signals, news from other threads, and times.
struct MainLoop: ~Copyable {
    private var signals: Signals
    private let wakeup: Wakeup
    private var polled = PollSet()

    /// Takes over SIGTERM, SIGINT and SIGUSR1; one that comes before the first wait is not lost.
    init(_ wakeup: Wakeup) throws(SystemError) {
        signals = try Signals([SIGTERM, SIGINT, SIGUSR1])
        self.wakeup = wakeup
    }

    /// Waits for a signal, a wake-up or `deadline`.
    ///
    /// - Returns: the oldest signal that came; `nil` for the other two.
    mutating func wait(until deadline: BootTime) throws(SystemError) -> CInt? {
        if let signal = signals.next() { return signal }
        polled.removeAll()
        polled.append(signals.descriptor, for: .reading)
        polled.append(wakeup.descriptor, for: .reading)
        _ = try polled.wait(until: deadline)
        wakeup.clear()
        return signals.next()
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
