/// A metric family as a record.
enum FamilyRecord {
    static let mostLabels = 4
    static let stride =
        RecordFrame.overhead + 16 + 72 + 200 + 16 + 104
        + HistogramBuckets.mostBounds * 8

    /// Whether all of it fits; help that is too long is cut, nothing else is.
    static func holds(_ family: MetricFamily) -> Bool {
        family.isValid && family.name.utf8.count <= 72 && family.unit.utf8.count <= 16
            && family.labels.count <= mostLabels
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

    /// The family of a record; `nil` for one that no exposition can hold.
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
        guard let kind, let encoding, labelCount <= mostLabels,
            boundCount <= HistogramBuckets.mostBounds,
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

    /// The schema and 1, since 0 stands for none.
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
