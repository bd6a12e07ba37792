import Posix
import StreamVaultTelemetry

/// Writes the `Histogram` messages of a family: classic buckets, and those of a native histogram beside them.
struct ProtobufHistogram {
    private let family: MetricFamily
    /// Upper bounds in the family's unit, each with the cells of its bucket; `+Inf` is in the count.
    private let classic: [(bound: Double, cells: Range<Int>)]
    private let exponential: (buckets: ExponentialBuckets, cells: [Range<Int>])?

    /// `nil` for a family of another kind.
    init?(_ family: MetricFamily) {
        guard let buckets = family.buckets else { return nil }
        self.family = family
        classic = zip(buckets.bounds, buckets.classicCells).map { bound, cells in
            (Double(bound) / Double(family.scale), cells)
        }
        exponential = buckets.exponential.map { ($0, buckets.exponentialCells) }
    }

    /// `cells` are a series' words, the sum before those that count.
    func write(
        _ cells: ArraySlice<UInt64>,
        created: WallTime,
        to message: inout ProtobufWriter
    ) {
        let counts = cells.dropFirst()
        message.unsigned(counts.reduce(0, &+), field: Field.count)
        message.double(family.number(cells[cells.startIndex]), field: Field.sum)
        var total: UInt64 = 0
        for (bound, range) in classic {
            total &+= counts.sum(range)
            message.message(field: Field.bucket) {
                $0.unsigned(total, field: Field.bucketCount)
                $0.double(bound, field: Field.bucketBound)
            }
        }
        writeNative(counts, to: &message)
        message.created(created, field: Field.created)
    }

    private func writeNative(_ counts: ArraySlice<UInt64>, to message: inout ProtobufWriter) {
        guard let (buckets, ranges) = exponential else { return }
        let native = NativeHistogram(
            ranges.map { counts.sum($0) },
            firstIndex: buckets.lowest << buckets.schema + 1
        )
        message.signed(Int64(buckets.schema), field: Field.schema)
        message.double(buckets.zeroThreshold, field: Field.zeroThreshold)
        message.unsigned(native.zeroCount, field: Field.zeroCount)
        for span in native.spans {
            message.message(field: Field.span) {
                $0.signed(Int64(span.offset), field: Field.spanOffset)
                $0.unsigned(UInt64(span.length), field: Field.spanLength)
            }
        }
        message.packed(native.deltas, field: Field.deltas)
    }

    /// Of `Histogram`, `Bucket` and `BucketSpan`.
    private enum Field {
        static let (count, sum, bucket, created) = (1, 2, 3, 15)
        static let (schema, zeroThreshold, zeroCount, span, deltas) = (5, 6, 7, 12, 13)
        static let (bucketCount, bucketBound) = (1, 2)
        static let (spanOffset, spanLength) = (1, 2)
    }
}

extension ProtobufWriter {
    /// A `google.protobuf.Timestamp`; nothing where the time is not known.
    mutating func created(_ time: WallTime, field: Int) {
        guard time.nanoseconds > 0 else { return }
        let (seconds, nanos) = time.nanoseconds.quotientAndRemainder(dividingBy: 1_000_000_000)
        message(field: field) {
            $0.unsigned(seconds, field: 1)
            $0.unsigned(nanos, field: 2)
        }
    }
}

extension ArraySlice<UInt64> {
    /// Of the elements at these distances from the first.
    fileprivate func sum(_ range: Range<Int>) -> UInt64 {
        self[startIndex + range.lowerBound..<startIndex + range.upperBound].reduce(0, &+)
    }
}

extension MetricFamily {
    /// A cell's value in the family's unit: the same number that the text formats write.
    func number(_ cell: UInt64) -> Double {
        switch encoding {
        case .integer: cell.divided(by: scale)
        case .double: Double(bitPattern: cell)
        }
    }
}

extension UInt64 {
    /// The `Double` that is nearest to the quotient, as of the decimal number that stands for it.
    ///
    /// A time of today in nanoseconds has more digits than a `Double`: it must not be rounded before it is divided.
    func divided(by scale: UInt64) -> Double {
        guard self >> 53 > 0 else { return Double(self) / Double(scale) }
        let (whole, rest) = quotientAndRemainder(dividingBy: scale)
        return Double(whole) + Double(rest) / Double(scale)
    }
}
