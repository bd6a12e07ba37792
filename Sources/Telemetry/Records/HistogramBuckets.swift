import Posix

/// The cells of a histogram, from which both its classic and its exponential buckets are computed.
///
/// An observation increments one cell; a bucket of either kind is the sum of adjacent cells.
package struct HistogramBuckets: Hashable, Sendable {
    static let maxBounds = 32
    static let maxCells = maxBounds + ExponentialBuckets.maxCount + 2

    /// Upper bounds of the classic buckets except `+Inf`, ascending, in the unit of the cells.
    package let bounds: [UInt64]
    /// `nil` for a histogram with classic buckets only.
    package let exponential: ExponentialBuckets?
    /// Upper bounds of the cells except the last, which has none.
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

    /// The cells of each classic bucket; `+Inf` is the last.
    package var classicCells: [Range<Int>] { cells(dividedBy: bounds) }

    /// The cells of the zero bucket, of each exponential bucket and of the bucket above; empty if there are none.
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

/// The buckets of a Prometheus native histogram: `2^schema` buckets for each power of two.
///
/// The upper bound of bucket `i` is `2^(i / 2^schema)` units, inclusive; its lower bound is that of bucket `i - 1`. The zero
/// bucket is below the lowest bucket, and one more bucket above the highest.
package struct ExponentialBuckets: Hashable, Sendable {
    static let schemas = 0...3
    /// Maximum number of buckets between the lowest and the highest power of two.
    static let maxCount = 256

    package let schema: Int
    /// Exponent of the upper bound of the zero bucket, in units: a power of two.
    package let lowest: Int
    /// Exponent of the highest upper bound.
    package let highest: Int

    package init(schema: Int, lowest: Int, highest: Int) {
        (self.schema, self.lowest, self.highest) = (schema, lowest, highest)
    }

    /// With the highest schema that `maxCount` allows, from below the first of the classic `bounds` to above the last.
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

    /// Upper bound of the zero bucket in units.
    package var zeroThreshold: Double { Double(sign: .plus, exponent: lowest, significand: 1) }

    /// Whether a segment can store it, with cells of this `scale`.
    func isValid(scale: UInt64) -> Bool {
        Self.schemas.contains(schema) && lowest < highest
            && highest - lowest <= Self.maxCount >> schema
            && lowest >= Int(Int8.min) && highest <= Self.highestPossible(scale)
    }

    /// The highest exponent whose bound fits a cell.
    private static func highestPossible(_ scale: UInt64) -> Int {
        scale.leadingZeroBitCount - 1
    }

    /// The bounds in the unit of the cells, rounded down; the zero bucket's first.
    ///
    /// Values are integers, so rounding changes nothing. Several bounds are equal where buckets are narrower than that unit.
    func bounds(scale: UInt64) -> [UInt64] {
        ((lowest << schema)...(highest << schema)).map { index in
            let step = (index & (1 << schema - 1)) << (3 - schema)
            let product = UInt128(Self.eighths[step]) * UInt128(scale)
            return UInt64(truncatingIfNeeded: product >> (52 - index >> schema))
        }
    }

    /// `2^(k/8)` in units of `2^-52`: exactly the floating-point numbers that Prometheus uses.
    private static let eighths = [
        0.5, 0.5452538663326288, 0.5946035575013605, 0.6484197773255048, 0.7071067811865475,
        0.7711054127039704, 0.8408964152537144, 0.9170040432046711,
    ].map { UInt64($0 * 0x1p53) }
}

/// A table with which handles find the cell of a value; its memory is not freed while handles may use it.
///
/// Each power of two is divided evenly into eight slots. For each slot the table has the number of bounds in the slots before
/// it, so only the bounds in the value's own slot have to be compared.
struct HistogramIndex: Sendable {
    /// The table, followed by the bounds.
    let memory: SharedMemory
    var address: UInt { memory.address }
    /// Number of comparisons for any value: the maximum number of bounds in one slot.
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
        // Padding that no value exceeds, because the number of comparisons is the same for all slots.
        let padded = bounds + [UInt64](repeating: .max, count: comparisons)
        for (index, bound) in padded.enumerated() {
            memory.store(bound, at: Histogram.slotCount + index)
        }
    }
}
