import Posix
import StreamVaultTelemetry

/// Renders pages of metrics as messages, each kept until one of its values changes.
///
/// Source: `io/prometheus/client/metrics.proto` of prometheus/client_model.
struct ProtobufPage {
    private var families: [ProtobufFamily] = []
    private var planned = PlannedSources()

    /// The whole page: rendered before any of it is sent, since one bad byte costs the whole scrape.
    mutating func render(_ sources: [MetricSource]) -> [UInt8] {
        if planned.areNew(sources) {
            // Whoever reads it makes of a histogram the series that the text format has.
            families = FamilyGroup.sorted(sources, in: .prometheus).map {
                ProtobufFamily($0, sources)
            }
        }
        for index in families.indices { families[index].show(sources) }
        return families.reduce(into: []) { $0 += $1.bytes }
    }
}

/// A family and its series, with all that does not change written already.
struct ProtobufFamily {
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
    /// The words that were written, series by series.
    private var shown: [UInt64] = []
    /// The message, after its length.
    private(set) var bytes: [UInt8] = []

    init(_ group: FamilyGroup, _ sources: [MetricSource]) {
        kind = group.family.kind
        head = Self.head(of: group.family)
        // Series of one declaration follow each other and share what is made of it.
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

    /// Brings the message up to date.
    mutating func show(_ sources: [MetricSource]) {
        let words = series.flatMap { sources[$0.source].words[$0.words] }
        guard words != shown else { return }
        shown = words
        bytes = message(sources)
    }

    private func message(_ sources: [MetricSource]) -> [UInt8] {
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
        return writer.bytes
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
            if kind == .counter { value.created(one.created, field: Field.counterCreated) }
        }
    }
}

extension ProtobufFamily {
    /// Of `MetricFamily`, `Metric`, `LabelPair`, `Gauge` and `Counter`.
    private enum Field {
        static let (name, help, type, metric, unit) = (1, 2, 3, 4, 5)
        static let (label, gauge, counter, histogram) = (1, 2, 3, 7)
        static let (labelName, labelValue) = (1, 2)
        static let (value, counterCreated) = (1, 3)
    }

    private static func head(of family: MetricFamily) -> [UInt8] {
        var writer = ProtobufWriter()
        writer.text(family.name, field: Field.name)
        writer.text(family.help, field: Field.help)
        writer.unsigned(type(of: family), field: Field.type)
        if !family.unit.isEmpty { writer.text(family.unit, field: Field.unit) }
        return writer.bytes
    }

    /// Of `MetricType`, which has neither info nor stateset: both are gauges there.
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
        for (name, value) in ExpositionText.labelPairs(family, values, recorder: recorder) {
            writer.message(field: Field.label) {
                $0.text(name, field: Field.labelName)
                $0.text(value, field: Field.labelValue)
            }
        }
        return writer.bytes
    }
}
