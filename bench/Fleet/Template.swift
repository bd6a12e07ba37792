import StreamVaultTelemetry

/// What a real recorder has declared in its segment, for others to declare.
struct Template {
    let version: String
    let phases: [PhaseBudget]
    /// Those of the recorder's own; every segment has the others.
    private let series: [(family: MetricFamily, values: [String])]

    init(path: String) throws(FleetError) {
        var reader = SegmentReader(path: path)
        do throws(SegmentError) {
            let contents = try reader.snapshot().contents
            version = contents.identity.version
            phases = contents.lifecycle.phases.map {
                PhaseBudget($0.name, budget: .nanoseconds(Int64(clamping: $0.budget)))
            }
            series = contents.series.map { (contents.families[$0.family], $0.values) }
                .filter { !MetricFamily.isReserved($0.family.name) }
        } catch {
            throw FleetError("\(path): \(error)")
        }
    }

    func start(in directory: String, named name: String) throws(FleetError) -> PublishedTemplate {
        let publisher = try publish(in: directory, named: name)
        if let trouble = publisher.warning { throw FleetError("\(directory): \(trouble)") }
        var instruments: [[String]: Instrument] = [:]
        for (family, values) in series {
            instruments[[family.name] + values] = publisher.instrument(family, values)
        }
        return PublishedTemplate(publisher: publisher, instruments: instruments)
    }

    private func publish(
        in directory: String,
        named name: String
    ) throws(FleetError) -> Publisher {
        do throws(PublisherError) {
            return try Publisher(
                directory: directory,
                name: name,
                version: version,
                phases: phases
            )
        } catch {
            throw FleetError("\(directory): \(error)")
        }
    }
}

/// A publisher that has declared all that the template has.
struct PublishedTemplate {
    let publisher: Publisher
    /// By the name of the family and the label values.
    private let instruments: [[String]: Instrument]

    init(publisher: Publisher, instruments: [[String]: Instrument]) {
        (self.publisher, self.instruments) = (publisher, instruments)
    }

    func add(_ amount: UInt64, to series: String...) {
        guard case .counter(let counter) = instruments[series] else { missing(series) }
        counter.add(amount)
    }

    func set(_ series: String..., to value: Double) {
        guard case .gauge(let gauge) = instruments[series] else { missing(series) }
        gauge.set(value)
    }

    func observe(_ duration: Duration, in series: String...) {
        guard case .histogram(let histogram) = instruments[series] else { missing(series) }
        histogram.observe(duration)
    }

    private func missing(_ series: [String]) -> Never {
        preconditionFailure("the template's recorder does not publish \(series)")
    }
}
