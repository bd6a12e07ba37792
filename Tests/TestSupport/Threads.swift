import Foundation
import Synchronization

/// Lines that were logged; filled from another thread.
package final class CollectedLines: Sendable {
    private let lines = Mutex<[String]>([])

    package init() {}

    package var all: [String] { lines.withLock { $0 } }

    package func append(_ line: String) {
        lines.withLock { $0.append(line) }
    }
}

/// Runs blocking work outside the cooperative pool.
package func onThread<Value: Sendable>(_ work: @escaping @Sendable () -> Value) async -> Value {
    await withCheckedContinuation { continuation in
        Thread.detachNewThread { continuation.resume(returning: work()) }
    }
}
