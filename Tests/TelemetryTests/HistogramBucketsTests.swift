import Foundation
import Testing

@testable import StreamVaultTelemetry

@Suite("Buckets of a histogram")
struct HistogramBucketsTests {
    private static let scale: UInt64 = 1_000_000_000

    @Test("exponential bounds are powers of the eighth root of two, rounded down", arguments: 0...3)
    func exponentialBounds(schema: Int) {
        let buckets = ExponentialBuckets(schema: schema, lowest: -10, highest: 10)
        let bounds = buckets.bounds(scale: Self.scale)
        #expect(bounds.count == 20 << schema + 1)
        for (offset, bound) in bounds.enumerated() {
            let exponent = Double(offset) / Double(1 << schema) - 10
            #expect(
                abs(Double(bound) - (pow(2, exponent) * 1e9).rounded(.down)) <= 1,
                "\(exponent)"
            )
        }
        #expect(bounds.first == 976_562)  // 1/1024 s is 976,562.5 ns.
        #expect(bounds[10 << schema] == Self.scale)
        #expect(bounds.last == 1024 * Self.scale)
    }

    static let layouts: [[UInt64]] = [
        RunMetrics.durationBounds, [5], [0, 1, 2], [UInt64.max], [1, .max], [1_000_000_000],
        (1000..<1032).map { $0 }, (0..<32).map { 1 << $0 }, [1, 3_600_000_000_000],
    ]

    /// Values on both sides of every edge, and many at random.
    private static func values(around bounds: [UInt64]) -> [UInt64] {
        var generator = SystemRandomNumberGenerator()
        let edges = bounds.flatMap { [$0 &- 1, $0, $0 &+ 1] }
        let random = (0..<2000).map { _ in
            UInt64.random(in: .min ... .max, using: &generator) >> UInt64.random(in: 0...63)
        }
        return edges + random + [0, 1, .max]
    }

    @Test("the table finds the cell of each value", arguments: layouts)
    func index(_ bounds: [UInt64]) {
        let buckets = RunMetrics.durations(named: "test_seconds", "", bounds: bounds, labels: [])
            .buckets
        guard let buckets else {
            Issue.record("no buckets")
            return
        }
        let histogram = Histogram(
            sum: Cell(address: 0),
            index: HistogramIndex(buckets.cellBounds)
        )
        for value in Self.values(around: buckets.cellBounds) {
            let expected = buckets.cellBounds.count { $0 < value }
            #expect(histogram.cell(of: value) == expected, "\(value)")
            #expect(buckets.cell(of: value) == expected, "\(value)")
        }
    }

    @Test("buckets of both kinds count the same as separate histograms", arguments: layouts)
    func sums(_ bounds: [UInt64]) {
        let family = RunMetrics.durations(named: "test_seconds", "", bounds: bounds, labels: [])
        guard let buckets = family.buckets, let exponential = buckets.exponential else {
            Issue.record("no buckets")
            return
        }
        #expect(family.isValid && FamilyRecord.holds(family))
        let values = Self.values(around: buckets.cellBounds)
        var cells = [UInt64](repeating: 0, count: buckets.cellCount)
        for value in values { cells[buckets.cell(of: value)] += 1 }
        for (bounds, ranges) in [
            (bounds, buckets.classicCells),
            (exponential.bounds(scale: Self.scale), buckets.exponentialCells),
        ] {
            var below = 0
            for (bound, range) in zip(bounds, ranges) {
                below += Int(cells[range].reduce(0, +))
                #expect(below == values.count { $0 <= bound }, "\(bound)")
            }
            #expect(ranges.count == bounds.count + 1)
            #expect(ranges.map(\.count).reduce(0, +) == cells.count)
        }
    }

    @Test(
        "exponential buckets extend from below the first bound to above the last, with the highest possible schema",
        arguments: [
            (RunMetrics.durationBounds, 3, -10, 10), ([1_000_000_000], 3, -16, 4),
            ([5], 3, -30, -24), ([1, 3_600_000_000_000], 2, -30, 15), ([.max], 3, 13, 33),
            ([0], 3, -30, -26),
        ] as [([UInt64], Int, Int, Int)]
    )
    func choice(_ bounds: [UInt64], _ schema: Int, _ lowest: Int, _ highest: Int) {
        #expect(
            ExponentialBuckets(around: bounds, scale: Self.scale)
                == ExponentialBuckets(schema: schema, lowest: lowest, highest: highest)
        )
    }

    @Test("the record of a family contains its buckets", arguments: layouts)
    func record(_ bounds: [UInt64]) {
        let family = RunMetrics.durations(named: "test_seconds", "", bounds: bounds, labels: ["a"])
        #expect(FamilyRecord.family(RecordReader(FamilyRecord.fields(family)[...])) == family)
        let classic = MetricFamily(name: "test", help: "", kind: .histogram, bounds: bounds)
        #expect(FamilyRecord.family(RecordReader(FamilyRecord.fields(classic)[...])) == classic)
        #expect(classic.wordsPerSeries == bounds.count + 2)
    }
}
