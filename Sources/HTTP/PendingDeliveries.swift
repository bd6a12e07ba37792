import Posix

/// Responses of one connection that are written but not known to be acknowledged.
///
/// The kernel gives no event for an acknowledgement, so it is asked again after growing pauses.
struct PendingDeliveries {
    private var entries: [(delivery: Delivery, end: Int)] = []
    private var pause = Self.firstPause
    /// When to ask next; `nil` while nothing is pending.
    private(set) var check: BootTime?
    /// When to give the connection up.
    private(set) var deadline: BootTime?

    private static let firstPause = Duration.milliseconds(1)
    private static let longestPause = Duration.milliseconds(256)

    var isEmpty: Bool { entries.isEmpty }

    /// Adds a response that ends after `end` bytes of all that the connection has sent.
    mutating func append(_ delivery: Delivery, end: Int, at now: BootTime, limit: Duration) {
        entries.append((delivery, end))
        pause = Self.firstPause
        (check, deadline) = (now, now.advanced(by: limit))
    }

    /// Takes out what lies within the first `acknowledged` bytes.
    mutating func settle(acknowledged: Int, at now: BootTime) -> [Delivery] {
        let settled = entries.prefix { $0.end <= acknowledged }
        entries.removeFirst(settled.count)
        if entries.isEmpty {
            (check, deadline) = (nil, nil)
        } else {
            check = now.advanced(by: pause)
            pause = min(pause * 2, Self.longestPause)
        }
        return settled.map(\.delivery)
    }
}
