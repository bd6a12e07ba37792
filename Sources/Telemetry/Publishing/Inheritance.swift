import Posix

/// What a run takes over from the one before it: accumulated counts, with the verdict on its end counted in, and history.
struct Inheritance {
    struct Series {
        let family: MetricFamily
        let values: [String]
        let created: WallTime
        let cells: [UInt64]
    }

    var series: [Series] = []
    var history: [PastRun] = []

    /// Nothing: there was no run before.
    init() {}

    /// - Parameter snapshot: of a segment whose owner is gone.
    init(_ snapshot: Snapshot) {
        history = snapshot.history
        series = snapshot.contents.series.compactMap { one in
            let family = snapshot.contents.families[one.family]
            guard family.isCarried else { return nil }
            let cells = snapshot.words[one.word..<one.word + family.wordsPerSeries]
            return Series(
                family: family,
                values: one.values,
                created: one.created,
                cells: Array(cells)
            )
        }
    }
}
