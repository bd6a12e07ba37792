import Testing

@testable import Exporter

@Suite("What a client would like")
struct AcceptFieldTests {
    @Test(
        "the format for what real servers and people send",
        arguments: [
            // Prometheus 2.42, 2.49.0, 3.0, 3.4, and with native histograms.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                .openMetrics
            ),
            (
                "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=2",
                .text
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;escaping=allow-utf-8;q=0.3,*/*;q=0.2",
                .openMetrics
            ),
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1",
                .openMetrics
            ),
            ("", .text), ("*/*", .text), ("text/html,application/xhtml+xml,*/*;q=0.8", .text),
            ("application/openmetrics-text", .openMetrics), ("image/png", .text),
            (
                "text/plain;version=0.0.4;q=0.3, Application/OpenMetrics-Text ; Version=\"1.0.0\" ; Q=0.4",
                .openMetrics
            ),
            ("application/openmetrics-text;q=0", .text),
            ("application/openmetrics-text;q=nan", .openMetrics),
            ("application/openmetrics-text;version=2.0.0", .text), (";;==,,;q=,q", .text),
            ("text/plain,application/openmetrics-text", .text),
        ] as [(String, ExpositionFormat)]
    )
    func format(_ field: String, _ expected: ExpositionFormat) {
        #expect(AcceptField(field).format == expected)
    }
}
