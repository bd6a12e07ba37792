import BenchFloor
import StreamVaultTelemetry

/// The operations that are measured, on a segment and a file of the floor's own.
struct Operations {
    /// Nanoseconds; the publisher's own default.
    private static let bounds: [UInt64] = [
        1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 15_000, 20_000, 25_000,
        30_000, 45_000, 60_000, 90_000, 120_000,
    ].map { $0 * 1_000_000 }

    private let publisher: Publisher
    private let values: [UInt64]

    /// Makes both files in `directory`.
    init(directory: String, values: [UInt64]) throws {
        publisher = try Publisher(directory: directory, name: "bench", version: "1")
        self.values = values
        if let trouble = publisher.warning { throw BenchError(message: trouble) }
        guard unsafe floor_open("\(directory)/floor") == 0 else {
            throw BenchError(message: "\(directory)/floor cannot be made")
        }
        unsafe floor_set(values, values.count, Self.bounds, Self.bounds.count)
    }

    var all: [Operation] { counters + gauges + histograms }
}

/// The words of the floor lie as far apart as those of the segment.
extension Operations {
    private var counters: [Operation] {
        let first = publisher.counter("bench_first_total", "One of two neighbours.")
        let second = publisher.counter("bench_second_total", "In the cache line of the first.")
        keepApart("counters")
        let apart = publisher.counter("bench_apart_total", "In another cache line.")
        return [
            Operation("counter add", bar: .ratio(1.1)) {
                add(first, $1)
            } floor: {
                floor_locked_add(0, $1)
            },
            Operation("counter add, apart", threads: 2) {
                add($0 == 0 ? first : apart, $1)
            } floor: {
                floor_locked_add($0 * 183, $1)
            },
            Operation("counter add, neighbours", threads: 2) {
                add($0 == 0 ? first : second, $1)
            } floor: {
                floor_locked_add($0, $1)
            },
            Operation("counter add, the same", threads: 2) {
                add(first, $1)
            } floor: {
                floor_locked_add(0, $1)
            },
            Operation("sole counter add", bar: .nanoseconds(1)) { [publisher, values] in
                var sole = publisher.singleWriterCounter("bench_sole_total", "With one writer.")
                for _ in 0..<$1 { for _ in values { sole.add() } }
            } floor: {
                floor_plain_add(64, $1)
            },
        ]
    }

    private var gauges: [Operation] {
        let gauge = publisher.gauge("bench_level", "A level.")
        let levels = values.map { Double($0) }
        let set: Operation.Body = { _, passes in
            for _ in 0..<passes { for level in levels { gauge.set(level) } }
        }
        return [
            Operation("gauge set", bar: .nanoseconds(0.5), measured: set) { floor_store(128, $1) },
            Operation("gauge set, the same", threads: 2, measured: set) { floor_store(128, $1) },
        ]
    }

    private var histograms: [Operation] {
        let first = publisher.histogram("bench_first_seconds", "One of two.")
        keepApart("histograms")
        let second = publisher.histogram("bench_second_seconds", "The other of two.")
        return [
            Operation("histogram observe", bar: .nanoseconds(12)) {
                observe(first, $1)
            } floor: {
                floor_locked_histogram(256, $1)
            },
            Operation("histogram observe, Duration") { [values] in
                let durations = values.map { Duration.nanoseconds($0) }
                for _ in 0..<$1 { for duration in durations { first.observe(duration) } }
            } floor: {
                floor_locked_histogram(256, $1)
            },
            Operation("histogram observe, apart", threads: 2) {
                observe($0 == 0 ? first : second, $1)
            } floor: {
                floor_locked_histogram(1024 + $0 * 362, $1)
            },
            Operation("histogram observe, the same", threads: 2) {
                observe(first, $1)
            } floor: {
                floor_locked_histogram(256, $1)
            },
            Operation("sole histogram observe", bar: .nanoseconds(4)) { [publisher, values] in
                var sole = publisher.singleWriterHistogram("bench_sole_seconds", "With one writer.")
                for _ in 0..<$1 { for value in values { sole.observe(value) } }
            } floor: {
                floor_plain_histogram(512, $1)
            },
        ]
    }

    private func add(_ counter: Counter, _ passes: Int) {
        for _ in 0..<passes { for _ in values { counter.add() } }
    }

    private func observe(_ histogram: Histogram, _ passes: Int) {
        for _ in 0..<passes { for value in values { histogram.observe(value) } }
    }

    /// Declares a series of 181 words, between one that was declared before and one that comes next.
    private func keepApart(_ what: String) {
        _ = publisher.histogram("bench_between_\(what)_seconds", "Keeps two series apart.")
    }
}

struct BenchError: Error, CustomStringConvertible {
    let message: String
    var description: String { message }
}
