import StreamVaultTelemetry

/// Text that both formats write alike.
///
/// Sources: "Text-based format" in Prometheus' documentation; OpenMetrics 1.0.0, "Text format".
enum ExpositionText {
    /// A series' labels as they stand between the braces, `recorder` first.
    static func labels(_ family: MetricFamily, _ values: [String], recorder: String?) -> String {
        labelPairs(family, values, recorder: recorder)
            .map { "\($0)=\"\(escape($1, quotes: true))\"" }.joined(separator: ",")
    }

    /// A series' labels in every format, `recorder` first.
    static func labelPairs(
        _ family: MetricFamily,
        _ values: [String],
        recorder: String?
    ) -> [(name: String, value: String)] {
        var pairs = recorder.map { [(name: "recorder", value: $0)] } ?? []
        for (name, value) in zip(family.labels, values) { pairs.append((name, value)) }
        return pairs
    }

    /// A sample's line up to its value.
    static func sampleStart(_ name: String, _ labels: String) -> [UInt8] {
        Array((labels.isEmpty ? "\(name) " : "\(name){\(labels)} ").utf8)
    }

    /// Labels of a histogram's bucket, with `le` in its canonical form, which Prometheus 3 gives to all others.
    static func bucketLabels(_ labels: String, _ family: MetricFamily, _ index: Int) -> String {
        let bounds = family.buckets?.bounds ?? []
        let bound =
            index < bounds.count
            ? (Double(bounds[index]) / Double(family.scale)).description : "+Inf"
        return (labels.isEmpty ? "" : labels + ",") + "le=\"\(bound)\""
    }

    /// Backslash and line feed are escaped everywhere; double quotes not in the help of the text format.
    static func escape(_ text: String, quotes: Bool) -> String {
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
