/// The buckets of a Prometheus native histogram: every power of two is divided into `2^schema` of them.
///
/// Bucket `i` ends at `2^(i / 2^schema)` units, its bound included, where bucket `i - 1` ended. Below the lowest one is the
/// zero bucket, above the highest one a last bucket for all that is larger.
package struct ExponentialBuckets: Hashable, Sendable {
    static let schemas = 0...3
    /// Buckets between the lowest power of two and the highest.
    static let most = 256

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
        let schema = Self.schemas.last { (highest - lowest) << $0 <= Self.most }
        self.init(schema: schema ?? 0, lowest: lowest, highest: highest)
    }

    /// Where the zero bucket ends, in units.
    package var zeroThreshold: Double { Double(sign: .plus, exponent: lowest, significand: 1) }

    /// Whether a segment may hold it, for cells of this `scale`.
    func isValid(scale: UInt64) -> Bool {
        Self.schemas.contains(schema) && lowest < highest && highest - lowest <= Self.most >> schema
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
