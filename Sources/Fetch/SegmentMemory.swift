import Synchronization

/// The memory that all streams together may use for segments which are on their way, or wait for those before them.
///
/// The segment that a stream writes next goes on in any case, or all streams could wait for each other: beyond the limit
/// come at most one segment and its decrypted copy for each stream.
package final class SegmentMemory: Sendable {
    package static let defaultLimit = 256 << 20

    private let limit: Int
    private let used = Mutex(0)
    /// Takes the bytes in use after each change; must not block.
    private let report: @Sendable (Int) -> Void

    package init(limit: Int = defaultLimit, report: @escaping @Sendable (Int) -> Void = { _ in }) {
        (self.limit, self.report) = (limit, report)
    }

    var usedBytes: Int { used.withLock { $0 } }

    fileprivate func take(_ bytes: Int, beyondLimit: Bool) -> Bool {
        used.withLock { used in
            let (sum, overflow) = used.addingReportingOverflow(bytes)
            guard !overflow, sum <= limit || beyondLimit else { return false }
            used = sum
            report(sum)
            return true
        }
    }

    fileprivate func giveBack(_ bytes: Int) {
        used.withLock { used in
            used -= bytes
            report(used)
        }
    }
}

/// What one body has of the memory, until it is gone; lives on its stream's thread.
package final class MemoryReservation {
    private let memory: SegmentMemory
    package private(set) var bytes = 0
    /// Whether the body is of the segment that is written next, and so does not wait for room.
    package var mayExceedLimit = false

    package init(of memory: SegmentMemory) {
        self.memory = memory
    }

    deinit { memory.giveBack(bytes) }

    /// Sees to it that a body of `total` bytes has room; whether it has.
    package func cover(_ total: Int) -> Bool {
        let lacking = total - bytes
        guard lacking > 0 else { return true }
        // Some more at once: a body comes in thousands of pieces.
        let step = max(lacking, min(total / 4, 1 << 20))
        guard let taken = [step, lacking].first(where: take) else { return false }
        bytes += taken
        return true
    }

    /// Gives back what a body that is complete does not need.
    package func settle(at total: Int) {
        guard total < bytes else { return }
        memory.giveBack(bytes - total)
        bytes = total
    }

    private func take(_ count: Int) -> Bool {
        memory.take(count, beyondLimit: mayExceedLimit)
    }
}
