import HTTP
import Posix

/// How a client of the metrics path presents itself: what two of a kind have in common.
struct ScraperKind: Hashable, CustomStringConvertible {
    /// The client's address: behind a proxy, as the proxy reports it.
    let address: String
    /// The proxy's address, which does not tell one client from another: a gateway may have several.
    private let proxy: String?
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
            forwarded: request.header("Forwarded"),
            agent: request.header("User-Agent") ?? "",
            accept: request.header("Accept") ?? "",
            timeout: request.header("X-Prometheus-Scrape-Timeout-Seconds")
        )
    }

    init(
        peer: String,
        forwardedFor: String? = nil,
        forwarded: String? = nil,
        agent: String,
        accept: String = "",
        timeout: String? = nil
    ) {
        let client =
            forwardedFor.flatMap { ForwardedAddress.first(inList: $0) }
            ?? forwarded.flatMap { ForwardedAddress.first(inForwarded: $0) }
        address = client ?? peer
        proxy = client == nil ? nil : peer
        self.agent = agent.shortened
        wishes = "\(timeout ?? "") \(accept)".shortened
        isDeclared = timeout != nil || agent.hasPrefix("Prometheus/")
        isProbe = agent.hasPrefix("kube-probe/")
    }

    /// Whether both may be one program that asks in two ways, such as a Prometheus before and after a reload.
    func isSameClient(as other: ScraperKind) -> Bool {
        address == other.address && agent == other.agent
    }

    static func == (left: ScraperKind, right: ScraperKind) -> Bool {
        left.isSameClient(as: right) && left.wishes == right.wishes
    }

    func hash(into hasher: inout Hasher) {
        hasher.combine(address)
        hasher.combine(agent)
        hasher.combine(wishes)
    }

    var description: String {
        let client = proxy.map { "\(address) by \($0)" } ?? address
        return agent.isEmpty ? client : "\(client) \(agent)"
    }
}

/// The client's address as proxies report it.
///
/// Only addresses count, without their ports: a gateway may open a connection for each request, with a port of its own, and
/// an identifier such as `unknown` or `_hidden` (RFC 7239, section 6) may be another one each time.
enum ForwardedAddress {
    /// Of `X-Forwarded-For`: the client comes first, then the proxies on the way.
    static func first(inList field: String) -> String? {
        for element in field.split(separator: ",") {
            if let address = address(element) { return address }
        }
        return nil
    }

    /// Of `Forwarded` (RFC 7239): elements after commas, their parameters after semicolons.
    static func first(inForwarded field: String) -> String? {
        for parameter in field.split(whereSeparator: { $0 == "," || $0 == ";" }) {
            let pair = parameter.split(separator: "=", maxSplits: 1)
            guard pair.count == 2, trimmed(pair[0]).lowercased() == "for" else { continue }
            if let address = address(pair[1]) { return address }
        }
        return nil
    }

    /// An address in any notation with or without a port, in its canonical one.
    private static func address(_ text: Substring) -> String? {
        var text = trimmed(text)
        if text.count >= 2, text.hasPrefix("\""), text.hasSuffix("\"") {
            text = trimmed(text.dropFirst().dropLast())
        }
        if text.hasPrefix("[") {
            guard let end = text.firstIndex(of: "]") else { return nil }
            text = text[text.index(after: text.startIndex)..<end]
        } else if text.utf8.count(where: { $0 == UInt8(ascii: ":") }) == 1 {
            text = text.prefix { $0 != ":" }
        }
        text = text.prefix { $0 != "%" }  // A zone is the proxy's own affair.
        guard text.utf8.count <= 64 else { return nil }
        return IPAddress(String(text))?.unmapped.description
    }

    private static func trimmed(_ text: Substring) -> Substring {
        let head = text.drop { $0 == " " || $0 == "\t" }
        return head.prefix(head.count - head.reversed().prefix { $0 == " " || $0 == "\t" }.count)
    }
}

extension String {
    /// What is kept of a text that a stranger sent.
    fileprivate var shortened: String {
        utf8.count <= 200 ? self : String(decoding: utf8.prefix(200), as: UTF8.self)
    }
}
