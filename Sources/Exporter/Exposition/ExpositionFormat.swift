import StreamVaultTelemetry

/// A format of the page of metrics.
enum ExpositionFormat: CaseIterable {
    /// Prometheus' text format 0.0.4.
    case text
    /// OpenMetrics 1.0.0.
    case openMetrics

    /// Exactly so: Prometheus 3 fails a scrape whose content type it does not know.
    var contentType: String {
        switch self {
        case .text: "text/plain; version=0.0.4; charset=utf-8"
        case .openMetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8"
        }
    }

    /// What stands behind the last sample; nothing may follow it.
    var end: String {
        switch self {
        case .text: ""
        case .openMetrics: "# EOF\n"
        }
    }

    /// A family's name in its metadata: OpenMetrics leaves a counter's and an info's suffix to the sample.
    func familyName(_ family: MetricFamily) -> String {
        switch (self, family.kind) {
        case (.openMetrics, .counter): String(family.name.dropLast("_total".count))
        case (.openMetrics, .info): String(family.name.dropLast("_info".count))
        case (.openMetrics, _), (.text, _): family.name
        }
    }

    /// The lines before a family's samples.
    func header(of family: MetricFamily) -> [UInt8] {
        let name = familyName(family)
        switch self {
        case .text:
            let help = ExpositionText.escape(family.help, quotes: false)
            return Array("# HELP \(name) \(help)\n# TYPE \(name) \(type(of: family))\n".utf8)
        case .openMetrics:
            let help = ExpositionText.escape(family.help, quotes: true)
            let unit = family.unit.isEmpty ? "" : "# UNIT \(name) \(family.unit)\n"
            return Array("# TYPE \(name) \(type(of: family))\n\(unit)# HELP \(name) \(help)\n".utf8)
        }
    }

    /// The text format has neither info nor stateset: both are gauges there.
    private func type(of family: MetricFamily) -> String {
        switch (self, family.kind) {
        case (_, .counter): "counter"
        case (_, .gauge), (.text, .info), (.text, .stateset): "gauge"
        case (_, .histogram): "histogram"
        case (.openMetrics, .info): "info"
        case (.openMetrics, .stateset): "stateset"
        }
    }
}
