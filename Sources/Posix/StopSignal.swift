import Glibc
import Synchronization

/// Asks a recording's thread to stop, whether it waits in `poll(2)` or for a time.
package final class StopSignal: Sendable {
    private let requested = Atomic(false)
    private let pipe: Pipe

    package init() throws(SystemError) {
        pipe = try Pipe()
    }

    /// Readable from the moment of the request on; nobody reads it, so it stays readable.
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
        while !isRequested {
            let left = deadline.since(.now())
            guard left > .zero else { break }
            var entry = pollfd(fd: readableDescriptor, events: Int16(POLLIN), revents: 0)
            _ = unsafe poll(&entry, 1, left.pollTimeout)
        }
        return isRequested
    }
}
