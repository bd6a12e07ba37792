import Posix
import StreamVaultTelemetry

/// The two formats that are text, where they differ.
enum TextDialect {
    /// Prometheus' text format 0.0.4.
    case prometheus
    /// OpenMetrics 1.0.0; with `_created` samples if they are asked for, since they are series of their own to most.
    case openMetrics(created: Bool)

    var isOpenMetrics: Bool {
        switch self {
        case .prometheus: false
        case .openMetrics: true
        }
    }

    /// Whether counters and histograms say since when they count.
    var showsCreated: Bool {
        switch self {
        case .prometheus: false
        case .openMetrics(let created): created
        }
    }

    /// What stands behind the last sample; nothing may follow it.
    var end: String { isOpenMetrics ? "# EOF\n" : "" }

    /// The family's name in its metadata.
    func familyName(_ family: MetricFamily) -> String {
        MetricFamily.exposedName(family.name, family.kind, inOpenMetrics: isOpenMetrics)
    }

    /// The lines before a family's samples.
    func header(of family: MetricFamily) -> [UInt8] {
        let name = familyName(family)
        let type = "# TYPE \(name) \(type(of: family))\n"
        let text = family.help.split(separator: "\n", omittingEmptySubsequences: false)
            .map { visible(String($0)) }.joined(separator: "\n")
        let help = "# HELP \(name) \(ExpositionText.escape(text, quotes: isOpenMetrics))\n"
        guard isOpenMetrics else { return Array((help + type).utf8) }
        let unit = family.unit.isEmpty ? "" : "# UNIT \(name) \(family.unit)\n"
        return Array((type + unit + help).utf8)
    }

    /// The text format has neither info nor stateset: both are gauges there.
    private func type(of family: MetricFamily) -> String {
        switch family.kind {
        case .counter: "counter"
        case .gauge: "gauge"
        case .histogram: "histogram"
        case .info: isOpenMetrics ? "info" : "gauge"
        case .stateset: isOpenMetrics ? "stateset" : "gauge"
        }
    }
}
