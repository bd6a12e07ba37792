import Testing

@testable import Exporter
@testable import HTTP

@Suite("Heads of scrapes")
struct ScrapeRequestTests {
    private func request(_ accept: String, from peer: String) throws -> Request {
        let text = "GET /metrics HTTP/1.1\r\nHost: a\r\nAccept: \(accept)\r\n\r\n"
        var parser = RequestParser()
        guard case .request(let request, _) = parser.parse(Array(text.utf8).span, peer: peer) else {
            throw CancellationError()
        }
        return request
    }

    @Test("what is remembered of one client is not given to another")
    func memory() throws {
        var heads = ScrapeRequestReader()
        for _ in 0..<2 {
            for (accept, format) in [
                ("application/openmetrics-text", ExpositionFormat.openMetrics), ("*/*", .text),
            ] {
                for peer in ["::1", "10.0.0.1"] {
                    for _ in 0..<2 {
                        let head = heads.read(try request(accept, from: peer))
                        #expect(head.format == format)
                        #expect(
                            head.identity == ScraperIdentity(peer: peer, agent: "", accept: accept)
                        )
                    }
                }
            }
        }
    }
}
