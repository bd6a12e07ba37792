/// What an acknowledged scrape means: which scraper has which last word.
struct ScrapeTag: Equatable {
    let scraper: UInt32
    let word: UInt32

    /// As the server carries it.
    var rawValue: UInt64 { UInt64(scraper) << 32 | UInt64(word) }

    init(scraper: UInt32, word: UInt32) {
        (self.scraper, self.word) = (scraper, word)
    }

    init(rawValue: UInt64) {
        scraper = UInt32(truncatingIfNeeded: rawValue >> 32)
        word = UInt32(truncatingIfNeeded: rawValue)
    }
}
