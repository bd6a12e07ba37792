import JSON
import StreamVaultTelemetry

/// The metrics that a run has declared, and what its messages do to them.
struct PublishedMetrics {
    private let publisher: Publisher
    private var families: [String: DeclaredFamily] = [:]
    /// Every name that an exposition makes of a family, and whose it is.
    private var owners: [String: String] = [:]

    private struct DeclaredFamily {
        let family: MetricFamily
        var series: [SeriesKey: Instrument] = [:]
    }

    init(_ publisher: Publisher) {
        self.publisher = publisher
    }

    /// Declares a metric and series of it; where the room ends, what fitted stays.
    mutating func declare(_ declaration: IngestDeclaration) throws(IngestRefusal) {
        let family = declaration.family
        if let known = families[family.name], !known.family.hasShape(of: family) {
            throw IngestRefusal(.message, "\"\(family.name)\" was declared otherwise")
        }
        let series = declaration.series.map { IngestSeries(name: family.name, labels: $0) }
        for one in series { _ = try Self.values(of: one, in: family) }
        if families[family.name] == nil {
            let names = try ownNames(of: family)
            guard publisher.declare(family) else { throw Self.full }
            families[family.name] = DeclaredFamily(family: family)
            for name in names { owners[name] = family.name }
        }
        for one in series { _ = try instrument(one) }
    }

    /// The names of the family, none of which another one has: an exposition could only show one of the two.
    private func ownNames(of family: MetricFamily) throws(IngestRefusal) -> [String] {
        let names = KnownFamilies.exposedNames(family.name, family.kind)
        for name in names {
            guard let owner = owners[name] else { continue }
            let clash = "\"\(family.name)\" and \"\(owner)\" have the name \"\(name)\" in common"
            throw IngestRefusal(.message, clash)
        }
        return names
    }

    mutating func retire(_ series: IngestSeries) throws(IngestRefusal) {
        let values = try Self.values(of: series, in: try family(series.name).family)
        publisher.retire(series.name, values)
        families[series.name]?.series[SeriesKey(family: 0, values: values)] = nil
    }

    mutating func add(_ number: JSONNumber, to series: IngestSeries) throws(IngestRefusal) {
        let amount = try amount(number, in: try family(series.name, .counter))
        if case .counter(let counter) = try instrument(series) { counter.add(amount) }
    }

    mutating func set(_ series: IngestSeries, to number: JSONNumber) throws(IngestRefusal) {
        _ = try family(series.name, .gauge)
        guard let value = number.double else {
            throw IngestRefusal(.message, "\"value\" is too large")
        }
        if case .gauge(let gauge) = try instrument(series) { gauge.set(value) }
    }

    mutating func observe(_ number: JSONNumber, in series: IngestSeries) throws(IngestRefusal) {
        let amount = try amount(number, in: try family(series.name, .histogram))
        if case .histogram(let histogram) = try instrument(series) { histogram.observe(amount) }
    }

    /// An amount in the cells' unit.
    private func amount(
        _ number: JSONNumber,
        in family: MetricFamily
    ) throws(IngestRefusal) -> UInt64 {
        if family.isInSeconds {
            if let nanoseconds = number.nanoseconds { return nanoseconds }
            throw IngestRefusal(.message, "\"value\" must be a number of seconds, from 0 on")
        }
        if let whole = number.integer { return whole }
        throw IngestRefusal(.message, "\"value\" must be a whole number, from 0 on")
    }

    /// The handle of a series, which is made where there is none.
    private mutating func instrument(_ series: IngestSeries) throws(IngestRefusal) -> Instrument {
        let family = try family(series.name)
        let values = try Self.values(of: series, in: family.family)
        let key = SeriesKey(family: 0, values: values)
        if let known = family.series[key] { return known }
        guard let made = publisher.instrument(family.family, values) else { throw Self.full }
        families[series.name]?.series[key] = made
        return made
    }

    private func family(
        _ name: String,
        _ kind: MetricFamily.Kind
    ) throws(IngestRefusal) -> MetricFamily {
        let family = try family(name).family
        guard family.kind == kind else {
            throw IngestRefusal(.message, "\"\(name)\" is no \(kind)")
        }
        return family
    }

    private func family(_ name: String) throws(IngestRefusal) -> DeclaredFamily {
        if let family = families[name] { return family }
        throw IngestRefusal(.order, "\"\(name)\" was not declared")
    }

    /// The label values in the order of the family's labels.
    private static func values(
        of series: IngestSeries,
        in family: MetricFamily
    ) throws(IngestRefusal) -> [String] {
        let values = family.labels.compactMap { series.labels[$0] }
        guard values.count == family.labels.count, values.count == series.labels.count else {
            let labels = family.labels.joined(separator: ", ")
            throw IngestRefusal(.message, "\"labels\" of \"\(series.name)\" are: \(labels)")
        }
        guard MetricFamily.holds(values) else {
            throw IngestRefusal(.message, "\"labels\" take more than 144 bytes")
        }
        return values
    }

    private static var full: IngestRefusal {
        IngestRefusal(.room, "the segment has no room for it, or an earlier metric of its name")
    }
}
