/// How the cells of a histogram divide its values: finely enough for its classic and for its exponential buckets.
///
/// An observation counts in one cell; the buckets of either kind are sums of neighbouring cells.
package struct HistogramBuckets: Hashable, Sendable {
    static let mostBounds = 32
    static let mostCells = mostBounds + ExponentialBuckets.most + 2

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
        (1...Self.mostBounds).contains(bounds.count)
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
