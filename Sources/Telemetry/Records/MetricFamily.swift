import Posix

/// A metric family as a segment declares it and an exporter renders it.
package struct MetricFamily: Hashable, Sendable {
    package enum Kind: UInt8, Sendable {
        case counter = 1
        case gauge, histogram, info, stateset
    }

    /// How a cell stores a value.
    package enum Encoding: UInt8, Sendable {
        /// An unsigned integer; the value is the integer divided by the family's scale.
        case integer
        /// The bits of an IEEE 754 double.
        case double
    }

    package var name: String
    package var help: String
    package var kind: Kind
    package var encoding: Encoding
    /// Integer per unit: 1,000,000,000 if cells contain nanoseconds and the exposition seconds.
    package let scale: UInt64
    package var unit: String
    package var labels: [String]
    /// `nil` except for histograms.
    package let buckets: HistogramBuckets?

    package init(
        name: String,
        help: String,
        kind: Kind,
        encoding: Encoding = .integer,
        scale: UInt64 = 1,
        unit: String = "",
        labels: [String] = [],
        bounds: [UInt64] = [],
        exponential: ExponentialBuckets? = nil
    ) {
        (self.name, self.help, self.kind) = (name, help, kind)
        (self.encoding, self.scale, self.unit) = (encoding, scale, unit)
        self.labels = labels
        buckets =
            bounds.isEmpty
            ? nil : HistogramBuckets(bounds: bounds, exponential: exponential, scale: scale)
    }

    /// Number of words of one series: of a histogram, the sum and the cells of its buckets.
    package var wordsPerSeries: Int { buckets.map { 1 + $0.cellCount } ?? 1 }

    /// Whether the next run continues with this run's values.
    var isCarried: Bool { kind == .counter || kind == .histogram }
    /// Whether its words in a file are counts, which never decrease during a run.
    var isCounted: Bool { isCarried && encoding == .integer && !Self.isReserved(name) }

    /// Whether the cells of `other` have the same meaning as those of this family.
    package func hasShape(of other: MetricFamily) -> Bool {
        var renamed = other
        renamed.help = help
        return renamed == self
    }

    /// Whether an exposition can contain it: Prometheus rejects a complete scrape because of one invalid name.
    ///
    /// Names follow the Prometheus data model without UTF-8 extensions; the exporter adds the labels `recorder` and `le`. The
    /// name of a counter ends in `_total`, that of an info in `_info`, and the unit precedes that, as in OpenMetrics.
    package var isValid: Bool {
        isName(name, colons: true) && hasFittingSuffix && scale > 0
            && (kind == .histogram) == (buckets != nil)
            && buckets?.isValid(scale: scale) ?? true
            && Set(labels).count == labels.count
            && labels.allSatisfy {
                isName($0, colons: false) && $0 != "le" && $0 != "recorder" && !$0.hasPrefix("__")
            }
    }

    private var hasFittingSuffix: Bool {
        let suffix =
            switch kind {
            case .counter: "_total"
            case .info: "_info"
            case .gauge, .histogram, .stateset: ""
            }
        guard name.utf8.count > suffix.utf8.count, name.hasSuffix(suffix) else { return false }
        return unit.isEmpty || name.dropLast(suffix.utf8.count).hasSuffix("_" + unit)
    }
}

extension MetricFamily {
    /// The prefix of the names that belong to recorders and the exporter.
    package static let projectPrefix = "streamvault_"

    /// The name in the metadata of a page; OpenMetrics leaves the suffix of a counter or an info to its samples.
    package static func exposedName(
        _ name: String,
        _ kind: Kind,
        inOpenMetrics: Bool
    ) -> String {
        guard inOpenMetrics else { return name }
        switch kind {
        case .counter: return String(name.dropLast("_total".count))
        case .info: return String(name.dropLast("_info".count))
        case .gauge, .histogram, .stateset: return name
        }
    }

    /// All names that a page uses for a family: in its metadata, and with each suffix that its samples can have.
    package static func sampleNames(
        _ name: String,
        _ kind: Kind,
        inOpenMetrics: Bool
    ) -> [String] {
        let suffixes =
            switch (kind, inOpenMetrics) {
            case (.histogram, false): ["", "_bucket", "_sum", "_count"]
            case (.histogram, true): ["", "_bucket", "_sum", "_count", "_created"]
            case (.counter, true): ["", "_total", "_created"]
            case (.info, true): ["", "_info"]
            case (.counter, false), (.info, false), (.gauge, _), (.stateset, _): [""]
            }
        let exposed = exposedName(name, kind, inOpenMetrics: inOpenMetrics)
        return suffixes.map { exposed + $0 }
    }
}

private func isName(_ text: String, colons: Bool) -> Bool {
    guard let first = text.utf8.first, !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first)
    else { return false }
    return text.utf8.allSatisfy { byte in
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
            true
        case UInt8(ascii: ":"): colons
        default: false
        }
    }
}

/// A metric family as a record.
enum FamilyRecord {
    static let maxLabels = 4
    static let stride =
        RecordCoding.overhead + 16 + 72 + 200 + 16 + 104
        + HistogramBuckets.maxBounds * 8

    /// Whether a record can contain it; only help that is too long is truncated.
    static func holds(_ family: MetricFamily) -> Bool {
        family.isValid && family.name.utf8.count <= 72 && family.unit.utf8.count <= 16
            && family.labels.count <= maxLabels
            && family.labels.reduce(0) { $0 + 1 + $1.utf8.count } <= 104
    }

    static func fields(_ family: MetricFamily) -> [UInt8] {
        var writer = RecordWriter()
        writer.integer(family.kind.rawValue)
        writer.integer(family.encoding.rawValue)
        writer.integer(UInt8(family.labels.count))
        writer.integer(UInt8(family.buckets?.bounds.count ?? 0))
        writer.raw(family.buckets?.exponential.map(exponentialFields) ?? [], width: 4)
        writer.integer(family.scale)
        writer.text(family.name, width: 72)
        writer.text(family.help, width: 200)
        writer.text(family.unit, width: 16)
        writer.texts(family.labels, width: 104)
        for bound in family.buckets?.bounds ?? [] { writer.integer(bound) }
        return writer.bytes
    }

    /// The family of a record; `nil` if no exposition can contain it.
    static func family(_ record: RecordReader) -> MetricFamily? {
        var record = record
        let kind = MetricFamily.Kind(rawValue: record.integer())
        let encoding = MetricFamily.Encoding(rawValue: record.integer())
        let labelCount = Int(record.integer(UInt8.self))
        let boundCount = Int(record.integer(UInt8.self))
        let exponential = exponential(&record)
        let scale = record.integer(UInt64.self)
        let (name, help, unit) = (
            record.text(width: 72), record.text(width: 200), record.text(width: 16)
        )
        guard let kind, let encoding, labelCount <= maxLabels,
            boundCount <= HistogramBuckets.maxBounds,
            let labels = record.texts(labelCount, width: 104)
        else { return nil }
        let family = MetricFamily(
            name: name,
            help: help,
            kind: kind,
            encoding: encoding,
            scale: scale,
            unit: unit,
            labels: labels,
            bounds: (0..<boundCount).map { _ in record.integer() },
            exponential: exponential
        )
        return family.isValid ? family : nil
    }

    /// The schema is stored plus 1, since 0 means none.
    private static func exponentialFields(_ buckets: ExponentialBuckets) -> [UInt8] {
        [
            UInt8(buckets.schema + 1), UInt8(bitPattern: Int8(buckets.lowest)),
            UInt8(bitPattern: Int8(buckets.highest)),
        ]
    }

    private static func exponential(_ record: inout RecordReader) -> ExponentialBuckets? {
        let schema = Int(record.integer(UInt8.self)) - 1
        let (lowest, highest) = (record.integer(Int8.self), record.integer(Int8.self))
        _ = record.integer(UInt8.self)
        guard schema >= 0 else { return nil }
        return ExponentialBuckets(schema: schema, lowest: Int(lowest), highest: Int(highest))
    }
}

/// One series of a family: its label values and the position of its cells.
struct SeriesRecord: Hashable, Sendable {
    static let valueBytes = 144
    static let stride = RecordCoding.overhead + 24 + valueBytes

    /// Index of the family's slot.
    var family: Int
    /// Index of its first word.
    var word: Int
    var isRetired = false
    /// Time since which it counts, possibly in an earlier run; 1970 if not known.
    var created: WallTime
    var values: [String]

    static func holds(_ values: [String]) -> Bool {
        values.allSatisfy { $0.utf8.count <= 255 }
            && values.reduce(0) { $0 + 1 + $1.utf8.count } <= valueBytes
    }

    var fields: [UInt8] {
        var writer = RecordWriter()
        writer.integer(UInt32(family))
        writer.integer(UInt32(word))
        writer.integer(UInt32(isRetired ? 1 : 0))
        writer.integer(UInt32(values.count))
        writer.integer(created.nanoseconds)
        writer.texts(values, width: Self.valueBytes)
        return writer.bytes
    }

    init(family: Int, word: Int, created: WallTime, values: [String]) {
        (self.family, self.word, self.created, self.values) = (family, word, created, values)
    }

    /// The series of a record; `nil` if its label values do not fit.
    init?(_ record: RecordReader) {
        var record = record
        family = Int(record.integer(UInt32.self))
        word = Int(record.integer(UInt32.self))
        isRetired = record.integer(UInt32.self) != 0
        let count = Int(record.integer(UInt32.self))
        created = WallTime(nanoseconds: record.integer())
        guard count <= FamilyRecord.maxLabels,
            let values = record.texts(count, width: Self.valueBytes)
        else { return nil }
        self.values = values
    }
}

/// Identifies a series by the index of its family and its label values, which are compared byte by byte.
///
/// Prometheus compares bytes as well. Swift's `String` compares canonical equivalence: with it, an accented letter as one
/// scalar or as two would be one series here and two in Prometheus.
package struct SeriesKey: Hashable {
    package let family: Int
    package let values: [String]

    package init(family: Int, values: [String]) {
        (self.family, self.values) = (family, values)
    }

    package static func == (left: SeriesKey, right: SeriesKey) -> Bool {
        left.family == right.family && left.values.count == right.values.count
            && zip(left.values, right.values).allSatisfy { $0.utf8.elementsEqual($1.utf8) }
    }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(family)
        for value in values {
            hasher.combine(value.utf8.count)
            for byte in value.utf8 { hasher.combine(byte) }
        }
    }
}

/// Text that is compared byte by byte, such as the name of a phase, which is a label value.
package struct ExactText: Hashable, Sendable {
    private let text: String

    package init(_ text: String) {
        self.text = text
    }

    package static func == (left: ExactText, right: ExactText) -> Bool {
        left.text.utf8.elementsEqual(right.text.utf8)
    }

    package func hash(into hasher: inout Hasher) {
        for byte in text.utf8 { hasher.combine(byte) }
        hasher.combine(UInt8.max)
    }
}
