import StreamVaultTelemetry

/// The constant text of the Prometheus text format 0.0.4.
///
/// Source: the format's description in Prometheus' documentation, "Text-based format".
enum ExpositionText {
    /// The lines before a family's samples.
    static func header(of family: MetricFamily) -> [UInt8] {
        let help = escape(family.help, quotes: false)
        return Array(
            "# HELP \(family.name) \(help)\n# TYPE \(family.name) \(type(of: family))\n".utf8
        )
    }

    /// A series' labels as they stand between the braces, `recorder` first.
    static func labels(_ family: MetricFamily, _ values: [String], recorder: String?) -> String {
        var pairs = recorder.map { [("recorder", $0)] } ?? []
        pairs += zip(family.labels, values)
        return pairs.map { "\($0)=\"\(escape($1, quotes: true))\"" }.joined(separator: ",")
    }

    /// Labels of a histogram's bucket, with `le` in its canonical form, which Prometheus 3 gives to all others.
    static func bucketLabels(_ labels: String, _ family: MetricFamily, _ index: Int) -> String {
        let bound =
            index < family.bounds.count
            ? (Double(family.bounds[index]) / Double(family.scale)).description : "+Inf"
        return (labels.isEmpty ? "" : labels + ",") + "le=\"\(bound)\""
    }

    /// The text format has neither info nor stateset: both are gauges there.
    private static func type(of family: MetricFamily) -> String {
        switch family.kind {
        case .counter: "counter"
        case .gauge, .info, .stateset: "gauge"
        case .histogram: "histogram"
        }
    }

    /// Backslash and line feed are escaped everywhere, double quotes in label values only.
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
