import Posix

/// Decides when the exporter may leave: not before the last word of every recorder has been collected.
///
/// Pure: it is told what happens and what time it is. A signal only begins the leaving, since in a pod of plain containers
/// the exporter gets its signal together with the recorder, and as a native sidecar when the recorder is gone.
struct Leaving {
    /// What the exporter is waiting for, once it has been told to leave.
    enum Awaited: Equatable { case nothing, recorders, scrapers }

    enum Decision: Equatable {
        /// Until something happens, or until then.
        case stay(until: BootTime?)
        case leave(Departure)
    }

    let policy: LingerPolicy
    let startedAt: BootTime
    var scrapers = Scrapers()
    var stages: [RecorderStage] = []
    var words = LastWords()
    var terminationMark: BootTime?
    var firstSignal: BootTime?
    var isHurried = false
    /// As of the last decision.
    var awaited = Awaited.nothing
    /// Until when that is awaited at most.
    var awaitedUntil = BootTime(nanoseconds: 0)

    init(_ policy: LingerPolicy, startedAt: BootTime) {
        (self.policy, self.startedAt) = (policy, startedAt)
    }

    /// Whether a signal has come: from then on the directory must be looked at before each decision.
    var hasBegun: Bool { firstSignal != nil }

    /// Scrapers that were seen in the last five minutes.
    func scraperCount(at now: BootTime) -> Int { scrapers.count(at: now) }
}

extension Leaving {
    /// Marks when the termination began, and the grace period with it.
    ///
    /// The first mark holds. One that is as old as the grace period was a false alarm, and counts no more.
    mutating func noteTermination(at now: BootTime) {
        guard let grace = policy.gracePeriod else { return }
        if let mark = terminationMark, now.since(mark) < grace { return }
        terminationMark = now
    }

    mutating func noteSignal(at now: BootTime) {
        isHurried = hasBegun
        firstSignal = firstSignal ?? now
    }

    /// Notes what the directory shows.
    mutating func noteLook(_ stages: [RecorderStage], at now: BootTime) {
        self.stages = stages
        words.note(stages, at: now)
    }

    /// Notes a scrape that shows what the last look did; the tag to watch its delivery by, if that matters.
    mutating func noteScrape(
        by kind: ScraperKind,
        _ connection: UInt64,
        at now: BootTime
    ) -> ScrapeTag? {
        let scraper = scrapers.visit(of: kind, by: connection, at: now)
        guard scraper.collected < words.number else { return nil }
        return ScrapeTag(scraper: scraper.number, word: words.number)
    }

    /// Notes that no further scrape can come by a connection.
    mutating func noteEnd(of connection: UInt64, at now: BootTime) {
        scrapers.noteEnd(of: connection, at: now)
    }

    /// Notes that a peer has acknowledged a scrape; the scraper, if it has the last word by it.
    mutating func noteDelivery(_ tag: ScrapeTag) -> Scraper? {
        scrapers.noteDelivery(of: tag.word, to: tag.scraper)
    }
}
