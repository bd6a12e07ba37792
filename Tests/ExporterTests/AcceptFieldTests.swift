import Testing

@testable import Exporter

@Suite("What a client would like")
struct AcceptFieldTests {
    private static let protobuf =
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"

    @Test(
        "the format for what Prometheus has sent",
        arguments: [
            // To 2.48.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                .openMetrics
            ),
            // The same with native histograms.
            (
                "\(protobuf),application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                .protobuf
            ),
            // 2.49.0, with a quality that is none.
            (
                "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=2",
                .openMetrics
            ),
            // To 2.55.
            (
                "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                .openMetrics
            ),
            (
                "\(protobuf);q=0.5,application/openmetrics-text;version=1.0.0;q=0.4,application/openmetrics-text;version=0.0.1;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
                .protobuf
            ),
            // 3.0, with a parameter given twice.
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;escaping=allow-utf-8;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;escaping=allow-utf-8;q=0.2,*/*;q=0.1",
                .openMetrics
            ),
            // From 3.4.
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                .openMetrics
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=underscores;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                .openMetrics
            ),
            (
                "\(protobuf);q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
                .protobuf
            ),
            (
                "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.3",
                .text
            ),
        ] as [(String, ExpositionFormat)]
    )
    func prometheus(_ field: String, _ expected: ExpositionFormat) {
        #expect(AcceptField(field).format == expected)
    }

    @Test(
        "the format for what others send",
        arguments: [
            ("", .text), ("*/*", .text), ("text/html,application/xhtml+xml,*/*;q=0.8", .text),
            ("text/*", .text), ("application/*", .openMetrics), ("application/*;q=0.1,*/*", .text),
            ("image/png", .text), ("application/json;q=1, image/*", .text),
            ("application/openmetrics-text", .openMetrics),
            ("application/openmetrics-text;version=2.0.0", .text),
            ("application/openmetrics-text;version=0.0.1", .text),
            ("text/plain;version=1.0.0", .text), ("text/plain;charset=utf-8", .text),
            ("application/vnd.google.protobuf", .text), ("\(protobuf)", .protobuf),
            ("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily", .text),
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text",
                .text
            ),
            ("application/vnd.google.protobuf;proto=other;encoding=delimited", .text),
        ] as [(String, ExpositionFormat)]
    )
    func others(_ field: String, _ expected: ExpositionFormat) {
        #expect(AcceptField(field).format == expected)
    }

    @Test(
        "RFC 9110: the highest quality, by the range that names a format most precisely",
        arguments: [
            ("text/plain;q=0.3, application/openmetrics-text;q=0.4", .openMetrics),
            ("text/plain, application/openmetrics-text", .text),
            ("application/openmetrics-text, text/plain", .openMetrics),
            ("application/openmetrics-text;q=0.001, text/plain;q=0", .openMetrics),
            ("text/plain;q=0, */*, application/openmetrics-text;q=0.5", .openMetrics),
            ("text/plain;q=0.1, text/*, application/openmetrics-text;q=0.5", .openMetrics),
            (
                "application/openmetrics-text;q=1, application/openmetrics-text;version=1.0.0;q=0.1, text/plain;q=0.2",
                .text
            ),
            ("application/openmetrics-text;q=0", .text), ("text/plain;q=0", .text),
            (
                "text/plain;version=0.0.4;q=0.3, Application/OpenMetrics-Text ; Version=\"1.0.0\" ; Q=0.4",
                .openMetrics
            ),
        ] as [(String, ExpositionFormat)]
    )
    func precision(_ field: String, _ expected: ExpositionFormat) {
        #expect(AcceptField(field).format == expected)
    }

    @Test(
        "what makes no sense is passed over",
        arguments: [
            ("application/openmetrics-text;q=nan", .openMetrics),
            ("application/openmetrics-text;q=-1, text/plain;q=0.1", .text),
            ("application/openmetrics-text;q=1e300, text/plain", .openMetrics),
            ("application/openmetrics-text;q=, text/plain;q=0.9", .openMetrics),
            ("application/openmetrics-text;q=0.2;q=1, text/plain;q=0.3", .text),
            (";;==,,;q=,q", .text), (",", .text), ("\"", .text), ("\"\\", .text), ("/", .text),
            ("text/plain;a=\",application/openmetrics-text;q=1\";q=0.1", .text),
            ("text/plain;a=\"\\\",application/openmetrics-text;\";q=0.1", .text),
            ("application/openmetrics-text;version=\"1.0\\.0\"", .openMetrics),
        ] as [(String, ExpositionFormat)]
    )
    func nonsense(_ field: String, _ expected: ExpositionFormat) {
        #expect(AcceptField(field).format == expected)
    }
}
