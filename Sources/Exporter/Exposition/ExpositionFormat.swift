/// A format of the page of metrics.
enum ExpositionFormat: CaseIterable {
    /// Prometheus' text format 0.0.4.
    case text
    /// OpenMetrics 1.0.0, as text.
    case openMetrics
    /// Prometheus' `MetricFamily` messages, each after its length: the format that has native histograms.
    case protobuf

    /// Exactly so: Prometheus 3 fails a scrape whose content type it does not know.
    var contentType: String {
        switch self {
        case .text: "text/plain; version=0.0.4; charset=utf-8"
        case .openMetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8"
        case .protobuf:
            "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
        }
    }
}
