import Testing

@testable import Exporter

@Suite("Negotiation")
struct NegotiationTests {
    @Test("what is remembered of one client is not given to another")
    func memory() {
        var negotiation = Negotiation()
        for _ in 0..<2 {
            #expect(negotiation.format(for: "application/openmetrics-text") == .openMetrics)
            #expect(negotiation.format(for: "application/openmetrics-text") == .openMetrics)
            #expect(negotiation.format(for: "") == .text)
        }
    }
}
