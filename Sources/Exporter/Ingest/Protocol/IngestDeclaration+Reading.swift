import JSON
import StreamVaultTelemetry

extension IngestDeclaration {
    init(_ fields: inout MessageFields) throws(IngestRefusal) {
        family = try MetricFamily(&fields)
        series = try fields.labelSets("series")
        // A metric without labels is one series, and it is there as soon as the metric is.
        if series.isEmpty, family.labels.isEmpty { series = [[:]] }
    }
}

extension MetricFamily {
    fileprivate init(_ fields: inout MessageFields) throws(IngestRefusal) {
        let kind = try fields.choice("metric", of: Kind.said)
        let unit = try fields.text("unit", most: 16, default: "")
        // Gauges may be anything; what is counted in seconds is kept in whole nanoseconds.
        let scale: UInt64 = kind != .gauge && unit == "seconds" ? 1_000_000_000 : 1
        let bounds = kind == .histogram ? try fields.bounds(scale: scale) : []
        self.init(
            name: try fields.text("name", most: 72),
            help: try fields.text("help", most: 200),
            kind: kind,
            encoding: kind == .gauge ? .double : .integer,
            scale: scale,
            unit: unit,
            labels: try fields.texts("labels"),
            bounds: bounds,
            exponential: bounds.isEmpty ? nil : ExponentialBuckets(around: bounds, scale: scale)
        )
        if let complaint { throw IngestRefusal(.message, complaint) }
    }

    /// Whether amounts are durations, of any precision down to the nanosecond.
    var isInSeconds: Bool { scale == 1_000_000_000 }

    /// What keeps it out of a segment, in one line.
    private var complaint: String? {
        let names = KnownFamilies.exposedNames(name, kind)
        if names.contains(where: { one in Self.reservedPrefixes.contains(where: one.hasPrefix) }) {
            return "\"\(name)\" is reserved: names that begin with streamvault_ or process_ are"
        }
        if kind == .counter, !name.hasSuffix("_total") {
            return "\"name\" of a counter must end in _total"
        }
        if !unit.isEmpty, !name.hasSuffix("_\(unit)"), !name.hasSuffix("_\(unit)_total") {
            return "\"name\" must end in its unit, before _total"
        }
        if labels.count > 4 { return "\"labels\" has more than 4 items" }
        if isPublishable { return nil }
        return "the metric does not fit: see docs/ingest.md for its names, labels and bounds"
    }

    private static let reservedPrefixes = [KnownFamilies.projectPrefix, "process_"]
}

extension MetricFamily.Kind {
    fileprivate static var said: KeyValuePairs<String, MetricFamily.Kind> {
        ["counter": .counter, "gauge": .gauge, "histogram": .histogram]
    }
}

extension MessageFields {
    fileprivate mutating func texts(_ name: String) throws(IngestRefusal) -> [String] {
        var texts: [String] = []
        for item in try items(name, most: 64) { texts.append(try text(item, name, most: 103)) }
        return texts
    }

    fileprivate mutating func labelSets(_ name: String) throws(IngestRefusal)
        -> [[String: String]]
    {
        var sets: [[String: String]] = []
        for item in try items(name, most: 512) { sets.append(try labels(item, name)) }
        return sets
    }

    /// Takes upper bounds in ascending order; those of all durations where none are given.
    fileprivate mutating func bounds(scale: UInt64) throws(IngestRefusal) -> [UInt64] {
        let items = try items("bounds", most: 32)
        let inSeconds = scale != 1
        if items.isEmpty, inSeconds { return RunMetrics.durationBounds }
        var bounds: [UInt64] = []
        for item in items {
            guard case .number(let number) = item,
                let bound = inSeconds ? number.nanoseconds : number.integer,
                bound > bounds.last ?? 0 || bounds.isEmpty
            else { throw wrong("bounds", "must be numbers in ascending order, whole or seconds") }
            bounds.append(bound)
        }
        guard !bounds.isEmpty else { throw wrong("bounds", "is missing") }
        return bounds
    }
}
