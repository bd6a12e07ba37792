import Posix
import StreamVaultTelemetry

/// Renders pages of metrics as protobuf messages, each of which is kept until one of its values changes.
///
/// Source: `io/prometheus/client/metrics.proto` of prometheus/client_model.
struct ProtobufPage {
    private var families: [ProtobufFamily] = []
    private var sources = PageSources()

    /// The complete page: it is rendered before any of it is sent, because one invalid byte costs the whole scrape.
    mutating func render(_ sources: [MetricSource]) -> [UInt8] {
        if self.sources.update(sources) {
            // Readers convert a histogram to the series that the text format has, so names must not clash there.
            families = FamilyGroup.sorted(sources, in: .prometheus).map {
                ProtobufFamily($0, sources)
            }
        }
        for index in families.indices { families[index].update(sources) }
        return families.reduce(into: []) { $0 += $1.bytes }
    }
}

/// A `MetricFamily` message; everything constant in it is encoded once.
private struct ProtobufFamily {
    private struct Series {
        let labels: [UInt8]
        let created: WallTime
        let source: Int
        let words: Range<Int>
        /// As its source declares it.
        let family: MetricFamily
        let histogram: ProtobufHistogram?
    }

    private let kind: MetricFamily.Kind
    /// Name, help, type and unit.
    private let head: [UInt8]
    private let series: [Series]
    /// The encoded words, series by series.
    private var shown: [UInt64] = []
    /// The message after its length.
    private(set) var bytes: [UInt8] = []

    /// Fields of `MetricFamily`, `Metric`, `LabelPair`, `Gauge` and `Counter`.
    private enum Field {
        static let (name, help, type, metric, unit) = (1, 2, 3, 4, 5)
        static let (label, gauge, counter, histogram) = (1, 2, 3, 7)
        static let (labelName, labelValue) = (1, 2)
        static let (value, counterCreated) = (1, 3)
    }

    init(_ group: FamilyGroup, _ sources: [MetricSource]) {
        kind = group.family.kind
        head = Self.head(of: group.family)
        // The series of one declaration are consecutive, and share a histogram's layout.
        var last: (family: MetricFamily, histogram: ProtobufHistogram?)?
        series = group.members.map { member in
            let (family, first) = (member.family, member.series.word)
            let histogram =
                if let last, last.family == family { last.histogram } else {
                    ProtobufHistogram(family)
                }
            last = (family, histogram)
            let recorder = sources[member.source].recorder
            return Series(
                labels: Self.labels(of: family, member.series.values, recorder: recorder),
                created: member.series.created,
                source: member.source,
                words: first..<first + family.wordsPerSeries,
                family: family,
                histogram: histogram
            )
        }
    }

    private static func head(of family: MetricFamily) -> [UInt8] {
        var writer = ProtobufWriter()
        writer.text(family.name, field: Field.name)
        writer.text(family.help, field: Field.help)
        writer.unsigned(type(of: family), field: Field.type)
        if !family.unit.isEmpty { writer.text(family.unit, field: Field.unit) }
        return writer.bytes
    }

    /// A `MetricType`, which has neither info nor stateset: both are gauges there.
    private static func type(of family: MetricFamily) -> UInt64 {
        switch family.kind {
        case .counter: 0
        case .gauge, .info, .stateset: 1
        case .histogram: 4
        }
    }

    private static func labels(
        of family: MetricFamily,
        _ values: [String],
        recorder: String?
    ) -> [UInt8] {
        var writer = ProtobufWriter()
        for (name, value) in FamilyGroup.labels(family, values, recorder: recorder) {
            writer.message(field: Field.label) {
                $0.text(name, field: Field.labelName)
                $0.text(value, field: Field.labelValue)
            }
        }
        return writer.bytes
    }

    /// Encodes the message again if a value has changed.
    mutating func update(_ sources: [MetricSource]) {
        let words = series.flatMap { sources[$0.source].words[$0.words] }
        guard words != shown else { return }
        shown = words
        var writer = ProtobufWriter()
        writer.delimited { message in
            message.raw(head)
            for one in series {
                message.message(field: Field.metric) { metric in
                    metric.raw(one.labels)
                    write(one, sources[one.source].words, to: &metric)
                }
            }
        }
        bytes = writer.bytes
    }

    private func write(_ one: Series, _ words: [UInt64], to metric: inout ProtobufWriter) {
        if let histogram = one.histogram {
            let cells = words[one.words]
            return metric.message(field: Field.histogram) {
                histogram.write(cells, created: one.created, to: &$0)
            }
        }
        metric.message(field: kind == .counter ? Field.counter : Field.gauge) { value in
            value.double(one.family.number(words[one.words.lowerBound]), field: Field.value)
            if kind == .counter { value.timestamp(one.created, field: Field.counterCreated) }
        }
    }
}

/// Writes the `Histogram` messages of a family: classic buckets beside those of a native histogram.
private struct ProtobufHistogram {
    private let family: MetricFamily
    /// Upper bounds in the family's unit, each with the cells of its bucket; the count is the bucket of `+Inf`.
    private let classic: [(bound: Double, cells: Range<Int>)]
    private let exponential: (buckets: ExponentialBuckets, cells: [Range<Int>])?

    /// Fields of `Histogram`, `Bucket` and `BucketSpan`.
    private enum Field {
        static let (count, sum, bucket, created) = (1, 2, 3, 15)
        static let (schema, zeroThreshold, zeroCount, span, deltas) = (5, 6, 7, 12, 13)
        static let (bucketCount, bucketBound) = (1, 2)
        static let (spanOffset, spanLength) = (1, 2)
    }

    /// `nil` for a family of another kind.
    init?(_ family: MetricFamily) {
        guard let buckets = family.buckets else { return nil }
        self.family = family
        classic = zip(buckets.bounds, buckets.classicCells).map { bound, cells in
            (Double(bound) / Double(family.scale), cells)
        }
        exponential = buckets.exponential.map { ($0, buckets.exponentialCells) }
    }

    /// `cells` are the words of a series: the sum, then the counts.
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
        message.timestamp(created, field: Field.created)
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
}

/// The counts of a native histogram in the form in which Prometheus transmits them: mostly without empty buckets.
struct NativeHistogram: Equatable {
    /// Consecutive buckets.
    struct Span: Equatable {
        /// The number of buckets between the previous span and this one; for the first span, the index of its first bucket.
        var offset: Int
        var length = 0
    }

    private(set) var zeroCount: UInt64
    private(set) var spans: [Span] = []
    /// The count of each bucket, as the difference from the previous bucket.
    private(set) var deltas: [Int64] = []

    /// Up to that many empty buckets take fewer bytes than another span.
    private static let maxGap = 2

    /// - Parameters:
    ///   - counts: of the zero bucket, and of all that follow.
    ///   - firstIndex: of the bucket after the zero bucket.
    init(_ counts: [UInt64], firstIndex: Int) {
        zeroCount = counts.first ?? 0
        var next = 0  // The index after the last bucket that was appended.
        var previous: UInt64 = 0
        for (index, count) in zip(firstIndex..., counts.dropFirst()) where count > 0 {
            let gap = index - next
            if spans.isEmpty || gap > Self.maxGap {
                spans.append(Span(offset: gap))
            } else {
                for _ in 0..<gap { append(0, &previous) }
            }
            append(count, &previous)
            next = index + 1
        }
    }

    private mutating func append(_ count: UInt64, _ previous: inout UInt64) {
        spans[spans.count - 1].length += 1
        deltas.append(Int64(truncatingIfNeeded: count &- previous))
        previous = count
    }
}

extension ProtobufWriter {
    /// A `google.protobuf.Timestamp`; nothing when the time is not known.
    fileprivate mutating func timestamp(_ time: WallTime, field: Int) {
        guard time.nanoseconds > 0 else { return }
        let (seconds, nanos) = time.nanoseconds.quotientAndRemainder(dividingBy: 1_000_000_000)
        message(field: field) {
            $0.unsigned(seconds, field: 1)
            $0.unsigned(nanos, field: 2)
        }
    }
}

extension ArraySlice<UInt64> {
    /// The sum of the elements at these distances from the first.
    fileprivate func sum(_ range: Range<Int>) -> UInt64 {
        self[startIndex + range.lowerBound..<startIndex + range.upperBound].reduce(0, &+)
    }
}

extension MetricFamily {
    /// The value of a cell in the family's unit: the number that the text formats write.
    fileprivate func number(_ cell: UInt64) -> Double {
        switch encoding {
        case .integer: cell.divided(by: scale)
        case .double: Double(bitPattern: cell)
        }
    }
}
