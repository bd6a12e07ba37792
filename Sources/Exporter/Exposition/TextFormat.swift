import Posix
import StreamVaultTelemetry

/// The two text formats: names, types and escaping.
///
/// Sources: "Text-based format" in the documentation of Prometheus; OpenMetrics 1.0.0, "Text format".
enum TextDialect {
    /// The Prometheus text format 0.0.4.
    case prometheus
    /// OpenMetrics 1.0.0; with `_created` samples on request, because most servers store them as additional series.
    case openMetrics(created: Bool)

    var isOpenMetrics: Bool {
        switch self {
        case .prometheus: false
        case .openMetrics: true
        }
    }

    /// Whether counters and histograms have a `_created` sample.
    var showsCreated: Bool {
        switch self {
        case .prometheus: false
        case .openMetrics(let created): created
        }
    }

    /// The text after the last sample.
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
        // In the help of the text format, double quotes are not escaped.
        let help = "# HELP \(name) \(Self.escape(text, quotes: isOpenMetrics))\n"
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

    /// The labels of a series as they appear between the braces, in both formats.
    static func labels(_ family: MetricFamily, _ values: [String], recorder: String?) -> String {
        FamilyGroup.labels(family, values, recorder: recorder)
            .map { "\($0)=\"\(escape($1, quotes: true))\"" }.joined(separator: ",")
    }

    /// The labels of a histogram's bucket, with `le` in its canonical form, to which Prometheus 3 converts all others.
    static func bucketLabels(_ labels: String, _ family: MetricFamily, _ index: Int) -> String {
        let bounds = family.buckets?.bounds ?? []
        let bound =
            index < bounds.count
            ? (Double(bounds[index]) / Double(family.scale)).description : "+Inf"
        return (labels.isEmpty ? "" : labels + ",") + "le=\"\(bound)\""
    }

    /// A sample's line up to its value.
    static func sampleStart(_ name: String, _ labels: String) -> [UInt8] {
        Array((labels.isEmpty ? "\(name) " : "\(name){\(labels)} ").utf8)
    }

    private static func escape(_ text: String, quotes: Bool) -> String {
        text.unicodeScalars.reduce(into: "") { escaped, scalar in
            switch scalar {
            case "\\": escaped += "\\\\"
            case "\n": escaped += "\\n"
            case "\"" where quotes: escaped += "\\\""
            default: escaped.unicodeScalars.append(scalar)
            }
        }
    }
}
