import Posix
import Testing

@testable import Exporter
@testable import HTTP

@Suite("The exporter's own metrics")
struct ExporterMetricsTests {
    private func text(_ metrics: inout ExporterMetrics) -> String {
        var page = TextPage(.prometheus)
        return String(decoding: page.render([metrics.source(now: .now())]), as: UTF8.self)
    }

    @Test("refused requests are counted by status, each from the start")
    func rejections() {
        var metrics = ExporterMetrics(version: "1.0", statuses: [])
        let name = "streamvault_exporter_http_requests_total"
        for status in Rejection.statuses {
            let series = "\(name){handler=\"rejected\",code=\"\(status.code)\"}"
            #expect(text(&metrics).contains("\(series) 0\n"))
        }
        var counters = Counters()
        for status in [Status.badRequest, .uriTooLong, .badRequest] {
            counters.rejections.add(status)
        }
        metrics.update(counters)
        #expect(text(&metrics).contains("\(name){handler=\"rejected\",code=\"400\"} 2\n"))
        #expect(text(&metrics).contains("\(name){handler=\"rejected\",code=\"414\"} 1\n"))
    }
}
