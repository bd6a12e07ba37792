import HTTP

/// How a client of the metrics path presents itself: what two of a kind have in common.
struct ScraperKind: Hashable, CustomStringConvertible {
    /// The address, and the one behind a proxy.
    let peer: String
    let agent: String
    /// Differs with the scrape's timeout and with the formats that are asked for.
    private let wishes: String
    /// Whether it says that it is a Prometheus, or scrapes as one: its first visit suffices then.
    let isDeclared: Bool
    /// Whether it is a kubelet, which comes as regularly as a scraper but takes nothing away.
    let isProbe: Bool

    init(_ request: Request) {
        self.init(
            peer: request.peer,
            forwardedFor: request.header("X-Forwarded-For"),
            agent: request.header("User-Agent") ?? "",
            accept: request.header("Accept") ?? "",
            timeout: request.header("X-Prometheus-Scrape-Timeout-Seconds")
        )
    }

    init(
        peer: String,
        forwardedFor: String? = nil,
        agent: String,
        accept: String = "",
        timeout: String? = nil
    ) {
        self.peer = forwardedFor.map { "\($0.shortened) by \(peer)" } ?? peer
        self.agent = agent.shortened
        wishes = "\(timeout ?? "") \(accept)".shortened
        isDeclared = timeout != nil || agent.hasPrefix("Prometheus/")
        isProbe = agent.hasPrefix("kube-probe/")
    }

    var description: String { agent.isEmpty ? peer : "\(peer) \(agent)" }
}

extension String {
    /// What is kept of a text that a stranger sent.
    fileprivate var shortened: String {
        utf8.count <= 200 ? self : String(decoding: utf8.prefix(200), as: UTF8.self)
    }
}
