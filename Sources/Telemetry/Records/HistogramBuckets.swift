import Posix

/// How the cells of a histogram divide its values: finely enough for its classic and for its exponential buckets.
///
/// An observation counts in one cell; the buckets of either kind are sums of neighbouring cells.
package struct HistogramBuckets: Hashable, Sendable {
    static let maxBounds = 32
    static let maxCells = maxBounds + ExponentialBuckets.maxCount + 2

    /// Upper bounds of the classic buckets but `+Inf`, ascending, in the cells' unit.
    package let bounds: [UInt64]
    /// `nil` for a histogram that is classic only.
    package let exponential: ExponentialBuckets?
    /// Upper bounds of the cells but the last, which counts what is above all of them.
    let cellBounds: [UInt64]
    private let exponentialBounds: [UInt64]

    init(bounds: [UInt64], exponential: ExponentialBuckets?, scale: UInt64) {
        (self.bounds, self.exponential) = (bounds, exponential)
        let isValid = exponential?.isValid(scale: scale) ?? false
        exponentialBounds = isValid ? exponential?.bounds(scale: scale) ?? [] : []
        cellBounds = (bounds + exponentialBounds).sorted().reduce(into: []) { cells, bound in
            if cells.last != bound { cells.append(bound) }
        }
    }

    package var cellCount: Int { cellBounds.count + 1 }

    func isValid(scale: UInt64) -> Bool {
        (1...Self.maxBounds).contains(bounds.count)
            && zip(bounds, bounds.dropFirst()).allSatisfy { $0 < $1 }
            && exponential?.isValid(scale: scale) ?? true
    }

    /// The cell that counts a value.
    func cell(of value: UInt64) -> Int {
        var (low, high) = (0, cellBounds.count)
        while low < high {
            let middle = (low + high) / 2
            if cellBounds[middle] < value { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// The cells of each classic bucket, `+Inf` the last.
    package var classicCells: [Range<Int>] { cells(dividedBy: bounds) }

    /// The cells of the zero bucket, of each exponential bucket, and of the one above them; empty without any.
    package var exponentialCells: [Range<Int>] {
        exponentialBounds.isEmpty ? [] : cells(dividedBy: exponentialBounds)
    }

    private func cells(dividedBy bounds: [UInt64]) -> [Range<Int>] {
        var end = 0
        let ranges = bounds.map { bound in
            let start = end
            while end < cellBounds.count, cellBounds[end] <= bound { end += 1 }
            return start..<end
        }
        return ranges + [end..<cellCount]
    }
}

/// The buckets of a Prometheus native histogram: every power of two is divided into `2^schema` of them.
///
/// Bucket `i` ends at `2^(i / 2^schema)` units, its bound included, where bucket `i - 1` ended. Below the lowest one is the
/// zero bucket, above the highest one a last bucket for all that is larger.
package struct ExponentialBuckets: Hashable, Sendable {
    static let schemas = 0...3
    /// Buckets between the lowest power of two and the highest.
    static let maxCount = 256

    package let schema: Int
    /// The zero bucket ends at this power of two, in units.
    package let lowest: Int
    /// Where the last bucket of a bounded width ends.
    package let highest: Int

    package init(schema: Int, lowest: Int, highest: Int) {
        (self.schema, self.lowest, self.highest) = (schema, lowest, highest)
    }

    /// As fine as `most` allows, from a little below the first of the classic `bounds` to well above the last.
    package init(around bounds: [UInt64], scale: UInt64) {
        let exponents = bounds.map { Int((Double(max(1, $0)) / Double(max(1, scale))).exponent) }
        let highest = min((exponents.last ?? 0) + 4, Self.highestPossible(scale))
        let lowest = max(
            min(exponents.first ?? 0, highest - 20),
            scale.leadingZeroBitCount - UInt64.bitWidth
        )
        let schema = Self.schemas.last { (highest - lowest) << $0 <= Self.maxCount }
        self.init(schema: schema ?? 0, lowest: lowest, highest: highest)
    }

    /// Where the zero bucket ends, in units.
    package var zeroThreshold: Double { Double(sign: .plus, exponent: lowest, significand: 1) }

    /// Whether a segment may hold it, for cells of this `scale`.
    func isValid(scale: UInt64) -> Bool {
        Self.schemas.contains(schema) && lowest < highest
            && highest - lowest <= Self.maxCount >> schema
            && lowest >= Int(Int8.min) && highest <= Self.highestPossible(scale)
    }

    /// So that each bound fits a cell.
    private static func highestPossible(_ scale: UInt64) -> Int {
        scale.leadingZeroBitCount - 1
    }

    /// The bounds in the cells' unit, which is a whole one: rounded down, they divide the values all the same.
    ///
    /// The zero bucket's first. Several are equal where the buckets are narrower than the cells' unit.
    func bounds(scale: UInt64) -> [UInt64] {
        ((lowest << schema)...(highest << schema)).map { index in
            let step = (index & (1 << schema - 1)) << (3 - schema)
            let product = UInt128(Self.eighths[step]) * UInt128(scale)
            return UInt64(truncatingIfNeeded: product >> (52 - index >> schema))
        }
    }

    /// `2^(k/8)` in units of `2^-52`: exactly the floating-point numbers that Prometheus computes with.
    private static let eighths = [
        0.5, 0.5452538663326288, 0.5946035575013605, 0.6484197773255048, 0.7071067811865475,
        0.7711054127039704, 0.8408964152537144, 0.9170040432046711,
    ].map { UInt64($0 * 0x1p53) }
}

/// Finds the cell that counts a value, for the handles that point to it; it stays for good.
///
/// Every power of two is divided evenly into eight slots. A table has for each slot the number of bounds in those before
/// it; only the few bounds in the value's own slot are left to compare with.
struct HistogramIndex: Sendable {
    /// The table; the bounds follow.
    let memory: SharedMemory
    var address: UInt { memory.address }
    /// The most bounds that one slot has: so many comparisons lead to the cell, whatever the value.
    let comparisons: Int

    init(_ bounds: [UInt64]) {
        let slots = bounds.map(Histogram.slot)
        var population = [Int](repeating: 0, count: Histogram.slotCount)
        for slot in slots { population[slot] += 1 }
        comparisons = population.max() ?? 0
        memory = SharedMemory(
            privateWords: Histogram.slotCount + bounds.count + comparisons
        )
        var before = 0
        for (slot, count) in population.enumerated() {
            memory.store(UInt64(before), at: slot)
            before += count
        }
        // Behind the last bound stand some that no value exceeds, for comparisons that find no bound.
        let padded = bounds + [UInt64](repeating: .max, count: comparisons)
        for (index, bound) in padded.enumerated() {
            memory.store(bound, at: Histogram.slotCount + index)
        }
    }
}
