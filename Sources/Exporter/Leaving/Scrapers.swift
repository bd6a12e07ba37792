import Posix

/// The clients of the metrics path, told apart.
///
/// A pair of Prometheis may look exactly alike, behind one address. Each keeps its connection open, so of two connections
/// that live at the same time each is a scraper; one that appears after another of its kind has ended is the same one
/// again. In doubt there are two: that costs a wait, the opposite a last word.
struct Scrapers {
    private static let most = 64

    private var all: [Scraper] = []
    private var count: UInt32 = 0

    /// Those that were seen in the last five minutes.
    func genuine(at now: BootTime) -> [Scraper] {
        all.filter { $0.isGenuine && $0.isRemembered(at: now) }
    }

    func count(at now: BootTime) -> Int {
        all.indices.count { all[$0].isGenuine && all[$0].isRemembered(at: now) }
    }

    /// Notes a scrape; the scraper that it is.
    mutating func visit(of kind: ScraperKind, by connection: UInt64, at now: BootTime) -> Scraper {
        if let index = index(of: kind, by: connection, at: now) {
            all[index].visit(by: connection, at: now)
            return all[index]
        }
        mergeSuccessors(at: now)
        makeRoom(at: now)
        count += 1
        let newcomer = Scraper(count, kind, connection: connection, at: now)
        all.append(newcomer)
        return newcomer
    }

    /// Notes that no scrape can come by a connection any more.
    ///
    /// A scraper that has given up an answer comes by the next connection, and the server may read from that one first.
    mutating func noteEnd(of connection: UInt64, at now: BootTime) {
        for index in all.indices.reversed() where all[index].connection == connection {
            all[index].noteEndOfConnection()
            let ended = all[index]
            guard let heir = all.firstIndex(where: { $0.mayContinue(ended, at: now) }) else {
                continue
            }
            all[heir].takePace(of: ended)
            all.remove(at: index)
        }
    }

    /// Merges each scraper that has missed a visit with one of the same client that appeared after its last visit.
    ///
    /// A reload that changes its job gives a Prometheus new connections, a new phase and maybe another timeout: that is no
    /// second scraper.
    mutating func mergeSuccessors(at now: BootTime) {
        for index in all.indices.reversed() where all[index].isOverdue(at: now) {
            let ended = all[index]
            let successor = all.indices.filter { all[$0].maySucceed(ended) }
                .min { all[$0].firstSeen < all[$1].firstSeen }
            guard let successor else { continue }
            all[successor].takeCollected(of: ended)
            all.remove(at: index)
        }
    }

    /// Notes that a scraper has a last word; the scraper, if it did not have it before.
    mutating func noteDelivery(of word: UInt32, to number: UInt32) -> Scraper? {
        guard let index = all.firstIndex(where: { $0.number == number }),
            all[index].collected < word
        else { return nil }
        all[index].collected = word
        return all[index]
    }

    /// The one that has this connection, or else the one without any that was to come about now.
    private func index(of kind: ScraperKind, by connection: UInt64, at now: BootTime) -> Int? {
        if let index = all.firstIndex(where: { $0.connection == connection && $0.kind == kind }) {
            return index
        }
        let waiting = all.indices.filter { all[$0].connection == nil && all[$0].kind == kind }
        return waiting.min { all[$0].delay(at: now) < all[$1].delay(at: now) }
    }

    /// Anyone can fill the roll, so strangers go first.
    private mutating func makeRoom(at now: BootTime) {
        all.removeAll { !$0.isRemembered(at: now) }
        guard all.count >= Self.most else { return }
        let last = all.indices.min {
            (all[$0].isGenuine ? 1 : 0, all[$0].lastSeen)
                < (all[$1].isGenuine ? 1 : 0, all[$1].lastSeen)
        }
        if let last { all.remove(at: last) }
    }
}
