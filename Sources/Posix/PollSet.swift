import Glibc

/// Descriptors to wait for together, with `poll(2)`; kept and refilled, so that a turn allocates nothing.
package struct PollSet: Sendable {
    /// Microseconds between two attempts while the kernel has no memory for a wait.
    private static let shortagePause: useconds_t = 50_000

    private var entries: [pollfd] = []

    /// What to wait for; errors and hang-ups count as ready whatever was asked.
    package enum Interest: Sendable {
        case reading, writing
        /// Keeps the place in the set, and is never ready.
        case nothing
    }

    package init() {}

    package var count: Int { entries.count }

    package mutating func removeAll() {
        entries.removeAll(keepingCapacity: true)
    }

    package mutating func append(_ descriptor: CInt, for interest: Interest) {
        switch interest {
        case .reading: entries.append(pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0))
        case .writing: entries.append(pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0))
        case .nothing: entries.append(pollfd(fd: -1, events: 0, revents: 0))  // poll skips it.
        }
    }

    /// Waits until one is ready, a signal came, or `deadline`, without which it waits for ever.
    ///
    /// - Returns: how many are ready.
    package mutating func wait(until deadline: BootTime?) throws(SystemError) -> Int {
        let timeout = deadline?.since(.now()).pollTimeout ?? -1
        let count = unsafe poll(&entries, nfds_t(entries.count), timeout)
        if count >= 0 { return Int(count) }
        let code = errno
        switch code {
        // Not restarted: a signal may have changed what the caller waits for.
        case EINTR: return 0
        // The kernel is short of memory, which passes; asked again at once, it would be asked for ever.
        case ENOMEM, EAGAIN:
            usleep(Self.shortagePause)
            return 0
        default: throw SystemError(call: "poll", code: code)
        }
    }

    package func isReady(_ index: Int) -> Bool { entries[index].revents != 0 }

    /// Whether the other end is gone: what it has sent can still be read, and nothing will follow.
    package func hasHungUp(_ index: Int) -> Bool { entries[index].revents & Int16(POLLHUP) != 0 }
}
