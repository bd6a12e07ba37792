import HTTP
import Posix

/// The clients of the metrics path.
///
/// Two Prometheus servers behind one address may send identical requests. Each keeps its connection open, so connections
/// that exist at the same time belong to different scrapers; a connection that appears after another one of the same
/// identity has ended belongs to the same scraper. In doubt there are two scrapers: that costs a wait, while the opposite
/// could cost a final state.
struct Scrapers {
    private static let max = 64

    private var all: [Scraper] = []
    private var count: UInt32 = 0

    /// Those seen in the last five minutes.
    func regular(at now: BootTime) -> [Scraper] {
        all.filter { $0.isRegular && $0.isRemembered(at: now) }
    }

    func count(at now: BootTime) -> Int {
        all.indices.count { all[$0].isRegular && all[$0].isRemembered(at: now) }
    }

    /// Records a scrape.
    ///
    /// - Returns: the scraper that it belongs to.
    mutating func visit(
        by identity: ScraperIdentity,
        on connection: UInt64,
        at now: BootTime
    ) -> Scraper {
        if let index = index(of: identity, connection, at: now) {
            all[index].visit(by: connection, at: now)
            return all[index]
        }
        mergeSuccessors(at: now)
        makeRoom(at: now)
        count += 1
        let newcomer = Scraper(count, identity, connection: connection, at: now)
        all.append(newcomer)
        return newcomer
    }

    /// The scraper with this connection, or else the one without a connection whose next scrape is expected about now.
    private func index(
        of identity: ScraperIdentity,
        _ connection: UInt64,
        at now: BootTime
    ) -> Int? {
        if let index = all.firstIndex(where: {
            $0.connection == connection && $0.identity == identity
        }) {
            return index
        }
        let waiting = all.indices.filter {
            all[$0].connection == nil && all[$0].identity == identity
        }
        return waiting.min { all[$0].delay(at: now) < all[$1].delay(at: now) }
    }

    /// Forgets old clients, then those that are not regular: any client can be added here.
    private mutating func makeRoom(at now: BootTime) {
        all.removeAll { !$0.isRemembered(at: now) }
        guard all.count >= Self.max else { return }
        let last = all.indices.min {
            (all[$0].isRegular ? 1 : 0, all[$0].lastSeen)
                < (all[$1].isRegular ? 1 : 0, all[$1].lastSeen)
        }
        if let last { all.remove(at: last) }
    }

    /// Records that no scrape can arrive on a connection any more.
    ///
    /// After a scraper has abandoned a response, its next connection may have been served before the old one's end is seen.
    mutating func noteEnd(of connection: UInt64, at now: BootTime) {
        for index in all.indices.reversed() where all[index].connection == connection {
            all[index].noteEndOfConnection()
            let ended = all[index]
            guard let next = all.firstIndex(where: { $0.mayContinue(ended, at: now) }) else {
                continue
            }
            all[next].inheritInterval(of: ended)
            all.remove(at: index)
        }
    }

    /// Merges each scraper that has missed a scrape with one of the same client that appeared after its last scrape.
    ///
    /// After a reload that changes its job, a Prometheus server uses new connections, at other times and maybe with another
    /// timeout: it is not a second scraper.
    mutating func mergeSuccessors(at now: BootTime) {
        for index in all.indices.reversed() where all[index].isOverdue(at: now) {
            let ended = all[index]
            let successor = all.indices.filter { all[$0].maySucceed(ended) }
                .min { all[$0].firstSeen < all[$1].firstSeen }
            guard let successor else { continue }
            all[successor].inheritCollected(of: ended)
            all.remove(at: index)
        }
    }

    /// Records that a scraper has collected a final state.
    ///
    /// - Returns: the scraper, if it had not collected that state before.
    mutating func noteCollected(_ finalState: UInt32, by number: UInt32) -> Scraper? {
        guard let index = all.firstIndex(where: { $0.number == number }),
            all[index].collected < finalState
        else { return nil }
        all[index].collected = finalState
        return all[index]
    }
}

/// A client of the metrics path.
struct Scraper {
    /// How long a client is remembered after its last scrape.
    fileprivate static let memory = Duration.seconds(300)
    /// Tolerance for a late scrape.
    private static let slack = Duration.seconds(2)
    /// Between the first scrape on a new connection and the end of the old one, which existed before.
    private static let overlap = Duration.milliseconds(100)

    let number: UInt32
    let identity: ScraperIdentity
    private(set) var interval = ScrapeInterval()
    /// The number of the newest final state that it has acknowledged.
    fileprivate(set) var collected: UInt32 = 0
    /// The connection of the last scrape; `nil` once that has ended.
    fileprivate private(set) var connection: UInt64?
    fileprivate private(set) var firstSeen: BootTime
    fileprivate private(set) var lastSeen: BootTime
    /// Whether it has been merged with another one that ended: it cannot succeed a second one.
    private var isSuccessor = false

    fileprivate init(
        _ number: UInt32,
        _ identity: ScraperIdentity,
        connection: UInt64,
        at now: BootTime
    ) {
        (self.number, self.identity) = (number, identity)
        (self.connection, firstSeen, lastSeen) = (connection, now, now)
    }

    /// Whether its next scrape is expected: for a Prometheus server from the first one, for others once they are regular.
    var isRegular: Bool { !identity.isProbe && (identity.isPrometheus || interval.isSteady) }

    /// Whether it has missed three scrapes.
    func hasDisappeared(at now: BootTime) -> Bool {
        guard let interval = interval.learned else { return false }
        return now.since(lastSeen) > interval * 3 + Self.slack
    }

    fileprivate mutating func visit(by connection: UInt64, at now: BootTime) {
        interval.add(now.since(lastSeen))
        (self.connection, lastSeen) = (connection, now)
    }

    fileprivate mutating func noteEndOfConnection() { connection = nil }

    fileprivate func isRemembered(at now: BootTime) -> Bool { now.since(lastSeen) < Self.memory }

    /// The distance between `now` and the expected time of its next scrape.
    fileprivate func delay(at now: BootTime) -> Duration {
        let expected = lastSeen.advanced(by: interval.learned ?? ScrapeInterval.assumed)
        return max(now.since(expected), expected.since(now))
    }

    /// Whether it is `other`, whose connection has just ended, on a new connection that has just begun.
    fileprivate func mayContinue(_ other: Scraper, at now: BootTime) -> Bool {
        identity == other.identity && connection != nil && interval.learned == nil
            && lastSeen > other.lastSeen && now.since(lastSeen) < Self.overlap
    }

    fileprivate mutating func inheritInterval(of other: Scraper) {
        interval = other.interval
        interval.add(lastSeen.since(other.lastSeen))
    }

    /// Whether it has missed a scrape.
    fileprivate func isOverdue(at now: BootTime) -> Bool {
        now.since(lastSeen) > (interval.learned ?? ScrapeInterval.assumed) * 3 / 2 + Self.slack
    }

    /// Whether it may be `other` with different requests; it can succeed one other scraper only.
    fileprivate func maySucceed(_ other: Scraper) -> Bool {
        number != other.number && !isSuccessor && isRegular
            && identity.isSameClient(as: other.identity) && firstSeen > other.lastSeen
    }

    fileprivate mutating func inheritCollected(of other: Scraper) {
        isSuccessor = true
        collected = max(collected, other.collected)
    }
}

/// The time between the scrapes of a client, learned from the last ones.
///
/// The median: neither a missed scrape nor a restart of the scraper changes it.
struct ScrapeInterval {
    /// For a client with a single scrape.
    static let assumed = Duration.seconds(15)
    private static let remembered = 5
    /// A client with a shorter interval is a load test.
    private static let minSteady = Duration.milliseconds(500)

    /// The last ones, in the order of time and in that of size.
    private var gaps: [Duration] = []
    private var sorted: [Duration] = []

    /// `nil` until the second scrape.
    var learned: Duration? { sorted.isEmpty ? nil : sorted[sorted.count / 2] }

    /// Whether the last three scrapes were at regular intervals, as only programs send them.
    var isSteady: Bool {
        guard gaps.count >= 2, let learned, learned >= Self.minSteady else { return false }
        return gaps.suffix(2).allSatisfy { $0 >= learned * 3 / 4 && $0 <= learned * 5 / 4 }
    }

    /// Adds the time between two scrapes; after a long absence the interval is learned again.
    mutating func add(_ gap: Duration) {
        guard gap < Scraper.memory else {
            (gaps, sorted) = ([], [])
            return
        }
        if gaps.count == Self.remembered, let place = sorted.firstIndex(of: gaps.removeFirst()) {
            sorted.remove(at: place)
        }
        gaps.append(gap)
        sorted.insert(gap, at: sorted.firstIndex { $0 > gap } ?? sorted.count)
    }
}

/// The tag of a response: which scraper receives which final state with it.
struct ScrapeTag: Equatable {
    let scraper: UInt32
    let finalState: UInt32

    /// As the server carries it.
    var rawValue: UInt64 { UInt64(scraper) << 32 | UInt64(finalState) }

    init(scraper: UInt32, finalState: UInt32) {
        (self.scraper, self.finalState) = (scraper, finalState)
    }

    init(rawValue: UInt64) {
        scraper = UInt32(truncatingIfNeeded: rawValue >> 32)
        finalState = UInt32(truncatingIfNeeded: rawValue)
    }
}

/// How a client of the metrics path identifies itself in its requests.
struct ScraperIdentity: Hashable, CustomStringConvertible {
    /// The client's address; behind a proxy, as the proxy reports it.
    let address: String
    /// The proxy's address, which does not distinguish clients: a gateway may have several.
    private let proxy: String?
    let agent: String
    /// The scrape's timeout and the requested formats.
    private let headerSummary: String
    /// Whether it is a Prometheus server, or sends the field of one.
    let isPrometheus: Bool
    /// Whether it is a kubelet, which is as regular as a scraper but collects nothing.
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
        headerSummary = "\(timeout ?? "") \(accept)".shortened
        isPrometheus = timeout != nil || agent.hasPrefix("Prometheus/")
        isProbe = agent.hasPrefix("kube-probe/")
    }

    /// Whether both may be one program with different requests, such as a Prometheus server before and after a reload.
    func isSameClient(as other: ScraperIdentity) -> Bool {
        address == other.address && agent == other.agent
    }

    static func == (left: ScraperIdentity, right: ScraperIdentity) -> Bool {
        left.isSameClient(as: right) && left.headerSummary == right.headerSummary
    }

    func hash(into hasher: inout Hasher) {
        hasher.combine(address)
        hasher.combine(agent)
        hasher.combine(headerSummary)
    }

    var description: String {
        let client = proxy.map { "\(address) by \($0)" } ?? address
        return agent.isEmpty ? client : "\(client) \(agent)"
    }
}

/// The client's address as proxies report it.
///
/// Only addresses count, without their ports: a gateway may use a new connection, and so a new port, for each request, and
/// an identifier such as `unknown` or `_hidden` (RFC 7239, section 6) may change each time.
private enum ForwardedAddress {
    /// From `X-Forwarded-For`: the client comes first, then the proxies on the way.
    static func first(inList field: String) -> String? {
        for element in field.split(separator: ",") {
            if let address = address(element) { return address }
        }
        return nil
    }

    /// From `Forwarded` (RFC 7239): elements are separated by commas, their parameters by semicolons.
    static func first(inForwarded field: String) -> String? {
        for parameter in field.split(whereSeparator: { $0 == "," || $0 == ";" }) {
            let pair = parameter.split(separator: "=", maxSplits: 1)
            guard pair.count == 2, trimmed(pair[0]).lowercased() == "for" else { continue }
            if let address = address(pair[1]) { return address }
        }
        return nil
    }

    /// An address in any notation, with or without a port, in its canonical notation.
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
        text = text.prefix { $0 != "%" }  // A zone is meaningful to the proxy only.
        guard text.utf8.count <= 64 else { return nil }
        return IPAddress(String(text))?.unmapped.description
    }

    private static func trimmed(_ text: Substring) -> Substring {
        let head = text.drop { $0 == " " || $0 == "\t" }
        return head.prefix(head.count - head.reversed().prefix { $0 == " " || $0 == "\t" }.count)
    }
}

extension String {
    /// The part of a client's text that is kept.
    fileprivate var shortened: String {
        utf8.count <= 200 ? self : String(decoding: utf8.prefix(200), as: UTF8.self)
    }
}
