import Posix

/// How often a client comes, learned from its last visits.
///
/// The median: neither a scrape that was missed nor a restart of the scraper changes it.
struct ScrapePace {
    /// For a scraper that came only once.
    static let assumed = Duration.seconds(15)
    private static let remembered = 5
    /// Faster is a load test.
    private static let fastestSteady = Duration.milliseconds(500)

    /// The last ones, as they came and by size.
    private var gaps: [Duration] = []
    private var sorted: [Duration] = []

    /// The interval; `nil` until the second visit.
    var learned: Duration? { sorted.isEmpty ? nil : sorted[sorted.count / 2] }

    /// Whether the last three visits were as far apart as a program's are, and a person's hardly.
    var isSteady: Bool {
        guard gaps.count >= 2, let learned, learned >= Self.fastestSteady else { return false }
        return gaps.suffix(2).allSatisfy { $0 >= learned * 3 / 4 && $0 <= learned * 5 / 4 }
    }

    /// Notes the time between two visits; after a long absence the pace is learned anew.
    mutating func note(_ gap: Duration) {
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
