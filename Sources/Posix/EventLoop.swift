import Glibc
import Synchronization

/// Waits for descriptors and a deadline with one `poll(2)` a turn; for one thread.
///
/// It stores no handlers: a program's loop stays one function that reads from top to bottom. A turn allocates nothing once
/// the array has grown.
package struct EventLoop: Sendable {
    /// The pause between two attempts while the kernel has no memory for a wait.
    private static let retryDelay = timespec(tv_sec: 0, tv_nsec: 50_000_000)

    private var entries: [pollfd] = []
    private var deadline: BootTime?

    /// What to wait for; errors and hang-ups count as ready in any case.
    package enum Interest: Sendable {
        case reading, writing
        /// Keeps the place in the order, and is never ready.
        case nothing
    }

    /// The place of a descriptor in the order of the calls of `watch`, from 0; valid until the next `begin()`.
    package typealias Token = Int

    package init() {}

    /// The number of descriptors of this turn so far: the next token.
    package var count: Int { entries.count }

    /// Begins a turn: forgets the descriptors and the deadline of the last one.
    package mutating func begin() {
        entries.removeAll(keepingCapacity: true)
        deadline = nil
    }

    @discardableResult
    package mutating func watch(_ descriptor: CInt, for interest: Interest) -> Token {
        switch interest {
        case .reading: entries.append(pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0))
        case .writing: entries.append(pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0))
        case .nothing: entries.append(pollfd(fd: -1, events: 0, revents: 0))  // poll skips it.
        }
        return entries.count - 1
    }

    /// Ends the wait of this turn at `time`; the earliest such time counts, and without any the wait has no limit.
    package mutating func wake(at time: BootTime?) {
        guard let time else { return }
        deadline = min(deadline ?? time, time)
    }

    /// Waits until a descriptor is ready, a signal has arrived, or `time` or the deadline of this turn has passed.
    ///
    /// - Returns: the number of ready descriptors.
    @discardableResult
    package mutating func wait(until time: BootTime? = nil) throws(SystemError) -> Int {
        let end = if let deadline, let time { min(deadline, time) } else { deadline ?? time }
        let timeout = end?.since(.now()).pollTimeout ?? -1
        let count = unsafe poll(&entries, nfds_t(entries.count), timeout)
        if count >= 0 { return Int(count) }
        let code = errno
        switch code {
        // Not restarted: a signal may have changed what the caller waits for.
        case EINTR: return 0
        // The kernel is short of memory, or the limit of descriptors was lowered: both can pass. Without a pause the loop
        // would spin.
        case ENOMEM, EAGAIN, EINVAL:
            var pause = Self.retryDelay
            _ = unsafe nanosleep(&pause, nil)
            return 0
        default: throw SystemError(call: "poll", code: code)
        }
    }

    package func isReady(_ token: Token) -> Bool { entries[token].revents != 0 }

    /// Whether the other end is gone: what it has sent can still be read, and nothing will follow.
    package func hasHungUp(_ token: Token) -> Bool { entries[token].revents & Int16(POLLHUP) != 0 }
}

extension FileDescriptor {
    /// Waits until this descriptor is ready; `false` if that has not happened by `deadline`.
    package borrowing func isReady(
        for interest: EventLoop.Interest,
        until deadline: BootTime?
    ) throws(SystemError) -> Bool {
        var loop = EventLoop()
        while true {
            loop.begin()
            loop.watch(rawValue, for: interest)
            if try loop.wait(until: deadline) > 0 { return true }
            if let deadline, deadline <= .now() { return false }
        }
    }
}

/// Wakes a thread that waits in an event loop; any thread may do that.
package final class Wakeup: Sendable {
    private let pipe: Pipe

    package init() throws(SystemError) {
        pipe = try Pipe()
        try pipe.reader.makeNonblocking()
        try pipe.writer.makeNonblocking()
    }

    /// To be watched for reading.
    package var descriptor: CInt { pipe.reader.rawValue }

    package func wake() {
        let byte: [UInt8] = [1]
        try? pipe.writer.writeAll(byte.span)  // A full pipe wakes as well.
    }

    /// Ends the state of being woken; called by the thread that waits.
    package func clear() {
        var bytes = [UInt8](repeating: 0, count: 64)
        unsafe bytes.withUnsafeMutableBytes { buffer in
            while let count = unsafe try? pipe.reader.read(into: buffer), count == 64 {}
        }
    }
}

/// Asks work on another thread to stop, whether it waits for descriptors or for a time.
package final class StopSignal: Sendable {
    private let requested = Atomic(false)
    private let pipe: Pipe

    package init() throws(SystemError) {
        pipe = try Pipe()
    }

    /// Readable from the request on, for good; to be watched for reading.
    package var readableDescriptor: CInt { pipe.reader.rawValue }

    package var isRequested: Bool { requested.load(ordering: .acquiring) }

    /// Makes the request; a second one changes nothing.
    package func request() {
        guard !requested.exchange(true, ordering: .acquiringAndReleasing) else { return }
        let byte: [UInt8] = [1]
        try? pipe.writer.writeAll(byte.span)
    }

    /// Waits until `deadline`, or until the request; whether the request was made.
    package func wait(until deadline: BootTime) -> Bool {
        _ = try? pipe.reader.isReady(for: .reading, until: deadline)
        return isRequested
    }
}
