import Dispatch
import Synchronization

/// Every operation measured in turn with its floor, many times over: what slows the machine slows both.
struct Rounds {
    private static let count = 21
    private static let passes = 64

    private struct Cost {
        var measured: [Double] = []
        var floor: [Double] = []
    }

    private let operations: [Operation]
    private let operationsPerPass: Int
    private var costs: [Cost]

    init(_ operations: [Operation], operationsPerPass: Int) {
        (self.operations, self.operationsPerPass) = (operations, operationsPerPass)
        costs = operations.map { _ in Cost() }
        for _ in 0..<Self.count {
            for (index, operation) in operations.enumerated() {
                costs[index].measured.append(nanoseconds(operation.measured, operation.threads))
                costs[index].floor.append(nanoseconds(operation.floor, operation.threads))
            }
        }
    }

    /// A line for each operation: medians in nanoseconds, the median of the ratios of each round, and the bar.
    var table: String {
        let heading = ["operation", "threads", "Swift ns", "C ns", "Swift/C", "bar"]
        return ([heading] + operations.indices.map { row($0) }).map { cells in
            let numbers = cells[1...4].map { $0.padded(to: 9, left: true) }.joined()
            return cells[0].padded(to: 28) + numbers + "  " + cells[5]
        }.joined(separator: "\n")
    }
}

extension Rounds {
    private func row(_ index: Int) -> [String] {
        let (operation, cost) = (operations[index], costs[index])
        let (measured, floor) = (cost.measured.median, cost.floor.median)
        let ratio = zip(cost.measured, cost.floor).map { $0 / $1 }.median
        let bar =
            switch operation.bar {
            case .nanoseconds(let most): "\(measured < most ? "kept" : "MISSED"): below \(most) ns"
            case .ratio(let most): "\(ratio <= most ? "kept" : "MISSED"): ratio to \(most)"
            case nil: ""
            }
        let numbers = [measured, floor, ratio].map { $0.twoDigits }
        return [operation.name, "\(operation.threads)"] + numbers + [bar]
    }

    /// The time that each of the threads takes for one operation, all running at once.
    private func nanoseconds(_ body: @escaping Operation.Body, _ threads: Int) -> Double {
        let perThread = Double(Self.passes * operationsPerPass)
        let start = StartLine(threads)
        let group = DispatchGroup()
        let spent = Mutex(Duration.zero)
        for thread in 0..<threads {
            // A queue of its own is a thread of its own, where a concurrent one may run both in turn.
            DispatchQueue(label: "bench.\(thread)").async(group: group) {
                start.wait()
                let time = ContinuousClock().measure { body(thread, Self.passes) }
                spent.withLock { $0 = max($0, time) }
            }
        }
        group.wait()
        return spent.withLock { $0 / .nanoseconds(1) } / perThread
    }
}

/// Lets threads start together.
final class StartLine: Sendable {
    private let missing: Atomic<Int>

    init(_ threads: Int) { missing = Atomic(threads) }

    func wait() {
        missing.subtract(1, ordering: .relaxed)
        while missing.load(ordering: .relaxed) > 0 {}
    }
}

extension [Double] {
    fileprivate var median: Double { sorted()[count / 2] }
}

extension Double {
    fileprivate var twoDigits: String {
        let hundredths = Int((self * 100).rounded())
        return "\(hundredths / 100).\(hundredths % 100 / 10)\(hundredths % 10)"
    }
}

extension String {
    fileprivate func padded(to width: Int, left: Bool = false) -> String {
        let padding = String(repeating: " ", count: max(0, width - count))
        return left ? padding + self : self + padding
    }
}
