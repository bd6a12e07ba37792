import Synchronization

/// The memory that all streams together may use for segments that are being fetched or wait for an earlier one.
///
/// The segment that a stream writes next proceeds in any case, because otherwise all streams could wait for each other: the limit
/// may be exceeded by one segment and its decrypted copy for each stream.
package final class SegmentMemory: Sendable {
    package static let defaultLimit = 256 << 20

    private let limit: Int
    private let used = Mutex(0)
    /// Called with the bytes in use after each change; must not block.
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

    fileprivate func release(_ bytes: Int) {
        used.withLock { used in
            used -= bytes
            report(used)
        }
    }
}

/// The memory that one body has reserved, until it is released; used by its stream's thread alone.
package final class MemoryReservation {
    private let memory: SegmentMemory
    package private(set) var bytes = 0
    /// Whether the body belongs to the segment that is written next, and so does not wait for room.
    package var mayExceedLimit = false

    package init(of memory: SegmentMemory) {
        self.memory = memory
    }

    deinit { memory.release(bytes) }

    /// Reserves memory for a body of `total` bytes; `false` if there is not enough.
    package func cover(_ total: Int) -> Bool {
        let lacking = total - bytes
        guard lacking > 0 else { return true }
        // In larger steps: a body arrives in thousands of pieces.
        let step = max(lacking, min(total / 4, 1 << 20))
        guard let granted = [step, lacking].first(where: take) else { return false }
        bytes += granted
        return true
    }

    /// Releases what a complete body does not need.
    package func settle(at total: Int) {
        guard total < bytes else { return }
        memory.release(bytes - total)
        bytes = total
    }

    private func take(_ count: Int) -> Bool {
        memory.take(count, beyondLimit: mayExceedLimit)
    }
}
