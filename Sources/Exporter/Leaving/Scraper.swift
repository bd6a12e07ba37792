import Posix

/// A client that comes to the metrics path again and again.
struct Scraper {
    /// For how long one that stays away is remembered.
    static let memory = Duration.seconds(300)
    /// What an answer may be late.
    private static let slack = Duration.seconds(2)
    /// Between the first scrape by a new connection and the end of the old one, which had come before it.
    private static let overlap = Duration.milliseconds(100)

    let number: UInt32
    let kind: ScraperKind
    /// Where it came last; `nil` once that connection has ended.
    private(set) var connection: UInt64?
    private(set) var firstSeen: BootTime
    private(set) var lastSeen: BootTime
    /// Whether it goes on where another one ended: it cannot succeed a second one.
    private(set) var isSuccessor = false
    private(set) var pace = ScrapePace()
    /// The newest last word that has been delivered to it.
    var collected: UInt32 = 0

    init(_ number: UInt32, _ kind: ScraperKind, connection: UInt64, at now: BootTime) {
        (self.number, self.kind) = (number, kind)
        (self.connection, firstSeen, lastSeen) = (connection, now, now)
    }

    mutating func visit(by connection: UInt64, at now: BootTime) {
        pace.note(now.since(lastSeen))
        (self.connection, lastSeen) = (connection, now)
    }

    mutating func noteEndOfConnection() { connection = nil }

    /// Whether it is `other`, whose connection has just ended, by a new one that has just begun.
    func mayContinue(_ other: Scraper, at now: BootTime) -> Bool {
        kind == other.kind && connection != nil && pace.learned == nil && lastSeen > other.lastSeen
            && now.since(lastSeen) < Self.overlap
    }

    mutating func takePace(of other: Scraper) {
        pace = other.pace
        pace.note(lastSeen.since(other.lastSeen))
    }

    /// Whether it has missed a visit.
    func isOverdue(at now: BootTime) -> Bool {
        now.since(lastSeen) > (pace.learned ?? ScrapePace.assumed) * 3 / 2 + Self.slack
    }

    /// Whether it may be `other`, which has gone, in another manner: one of two alike that went took nobody's place.
    func maySucceed(_ other: Scraper) -> Bool {
        number != other.number && !isSuccessor && isGenuine && kind.isSameClient(as: other.kind)
            && firstSeen > other.lastSeen
    }

    /// Notes that it has what `other` had, which it is.
    mutating func takeCollected(of other: Scraper) {
        isSuccessor = true
        collected = max(collected, other.collected)
    }

    /// Whether it is one: a Prometheus at its first visit, anyone else once the visits are regular.
    var isGenuine: Bool { !kind.isProbe && (kind.isDeclared || pace.isSteady) }

    func isRemembered(at now: BootTime) -> Bool { now.since(lastSeen) < Self.memory }

    /// Whether it has missed three scrapes.
    func hasDisappeared(at now: BootTime) -> Bool {
        guard let interval = pace.learned else { return false }
        return now.since(lastSeen) > interval * 3 + Self.slack
    }

    /// How far `now` is from when it was to come again.
    func delay(at now: BootTime) -> Duration {
        let expected = lastSeen.advanced(by: pace.learned ?? ScrapePace.assumed)
        return max(now.since(expected), expected.since(now))
    }
}
