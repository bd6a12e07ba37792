import Foundation
import StreamVaultTelemetry
import Testing

@Suite("Formats of the metrics, between a real exporter and a real Prometheus", .serialized)
struct FormatsTests {
    private let bench = try? Workbench()

    private func workbench() throws -> Workbench { try #require(bench) }

    private func publisher() throws -> Publisher {
        let directory = try workbench().makeDirectory("telemetry")
        return try Publisher(directory: directory, name: "cam", version: "1.0")
    }

    @Test(
        "a native histogram is ingested from protobuf, and its quantiles are right",
        .timeLimit(.minutes(10))
    )
    func nativeHistogram() throws {
        let publisher = try publisher()
        let histogram = publisher.histogram("test_seconds", "Durations.")
        // As many from 1 to 10 ms as from 10 to 100 ms, and so on, to 100 s.
        let values = (0..<5000).map { pow(10, Double($0) / 1000 - 3) }
        for value in values { histogram.observe(.nanoseconds(Int64(value * 1e9))) }
        let exporter = try workbench().startExporter()
        let prometheus = try workbench().startPrometheus(
            scraping: [exporter],
            ["--enable-feature=native-histograms"]
        )
        #expect(try prometheus.query("test_seconds_bucket").isEmpty, "not the classic one")
        for quantile in [0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99] {
            let exact = values[Int(quantile * 5000)]
            let found = try #require(
                try prometheus.value("histogram_quantile(\(quantile), test_seconds)")
            )
            // A bucket reaches to 2^(1/8) of where it begins.
            #expect(found / exact < 1.0906 && exact / found < 1.0906, "\(quantile)")
        }
        #expect(try prometheus.value("histogram_count(test_seconds)") == 5000)
        let sum = values.reduce(0) { $0 + Double(Int64($1 * 1e9)) / 1e9 }
        let found = try #require(try prometheus.value("histogram_sum(test_seconds)"))
        #expect(abs(found - sum) < 1e-6)
        // All that is not a histogram comes the same way.
        #expect(try prometheus.value("streamvault_recorder_up") == 1)
        #expect(try prometheus.value("streamvault_recorder_runs_total") == 1)
        withExtendedLifetime(publisher) {}
    }

    @Test(
        "without that feature the same histogram is a classic one, and says since when it counts if it is asked to",
        .timeLimit(.minutes(10))
    )
    func classicHistogram() throws {
        let publisher = try publisher()
        publisher.histogram("test_seconds", "Durations.").observe(.seconds(3))
        let started = Date().timeIntervalSince1970
        let exporter = try workbench().startExporter([
            "--linger.max", "0s", "--web.created-timestamps",
        ])
        let prometheus = try workbench().startPrometheus(scraping: exporter)
        #expect(try prometheus.value(#"test_seconds_bucket{le="5.0"}"#) == 1)
        #expect(try prometheus.value(#"test_seconds_bucket{le="2.5"}"#) == 0)
        let created = try #require(try prometheus.value("test_seconds_created"))
        #expect(abs(created - started) < 60)
        withExtendedLifetime(publisher) {}
    }

    @Test(
        "HEAD has the header of GET and no content, and each format exactly its content type",
        .timeLimit(.minutes(10)),
        arguments: [
            ("text/plain;version=0.0.4", "text/plain; version=0.0.4; charset=utf-8"),
            (
                "application/openmetrics-text;version=1.0.0",
                "application/openmetrics-text; version=1.0.0; charset=utf-8"
            ),
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            ),
        ]
    )
    func head(_ accept: String, _ contentType: String) throws {
        let exporter = try workbench().startExporter()
        let address = "http://127.0.0.1:\(exporter.port)/metrics"
        let options = ["-s", "--max-time", "10", "-H", "Accept: \(accept)"]
        // Two on one connection: bytes behind the first header would break the second response.
        let head = try workbench().run("curl", options + ["-I", address, address]).output
        let blocks = head.components(separatedBy: "\r\n\r\n").filter { !$0.isEmpty }
        #expect(blocks.count == 2)
        let discarded = ["-D", "-", "-o", "/dev/null"]
        let get = try workbench().run("curl", options + discarded + [address]).output
        for block in blocks + [get] {
            let lines = block.components(separatedBy: "\r\n").filter { !$0.isEmpty }
            #expect(lines.first == "HTTP/1.1 200 OK")
            #expect(lines.contains("Content-Type: \(contentType)"))
            #expect(lines.contains("Vary: Accept"))
            #expect(lines.contains { $0.hasPrefix("Content-Length: ") })
            #expect(names(lines) == names(blocks[0].components(separatedBy: "\r\n")))
        }
    }

    private func names(_ lines: [String]) -> [Substring] {
        lines.dropFirst().compactMap { $0.split(separator: ":").first }
    }
}
