import Posix
import Testing

@testable import Exporter
@testable import HTTP

@Suite("The exporter's own metrics")
struct OwnMetricsTests {
    private func text(_ own: inout OwnMetrics) -> String {
        var page = MetricsPage(.prometheus)
        return String(decoding: page.render([own.source(now: .now())]), as: UTF8.self)
    }

    @Test("what the server refuses is counted by status; each status is there from the start")
    func rejections() {
        var own = OwnMetrics(version: "1.0", statuses: [])
        let name = "streamvault_exporter_http_requests_total"
        for status in Rejection.statuses {
            let series = "\(name){handler=\"rejected\",code=\"\(status.code)\"}"
            #expect(text(&own).contains("\(series) 0\n"))
        }
        var counts = StatusCounts()
        for status in [Status.badRequest, .uriTooLong, .badRequest] { counts.add(status) }
        own.note(rejections: counts)
        #expect(text(&own).contains("\(name){handler=\"rejected\",code=\"400\"} 2\n"))
        #expect(text(&own).contains("\(name){handler=\"rejected\",code=\"414\"} 1\n"))
    }
}
