package import Posix

/// What a segment holds, but for the words: all that changes rarely.
///
/// Immutable, and shared by the snapshots taken of it.
package final class SegmentContents: Sendable {
    package let identity: Identity
    package let lifecycle: Lifecycle
    package let families: [MetricFamily]
    /// Live series, in the order of their families.
    package let series: [Series]
    package let recordings: [OpenRecording]
    /// Recordings of this run that ended, in the order of `RecordingResult.allCases`.
    package let ended: [UInt64]
    /// The oldest run first.
    package let history: [PastRun]

    /// A live series: its family's index, its label values, the index of its first word, and when it began to count.
    package struct Series: Sendable {
        package let family: Int
        package let values: [String]
        package let word: Int
        /// The zero of 1970 where nobody knows.
        package let created: WallTime

        package init(
            family: Int,
            values: [String],
            word: Int,
            created: WallTime = WallTime(nanoseconds: 0)
        ) {
            (self.family, self.values, self.word) = (family, values, word)
            self.created = created
        }
    }

    /// Where the recordings are, whose order this is.
    let places: [RecordingRecord]
    let runCells: RunCells
    let shown: [ShownRecording]
    /// Words of the file that anything here refers to; a snapshot has those of the shown recordings behind them.
    let fileWords: Int
    var addedWords: Int { shown.count * ShownRecording.addedWords }

    init(_ parts: SegmentParts) {
        identity = parts.identity
        lifecycle = parts.lifecycle
        families = parts.families.map(\.family)
        history = parts.history
        places = parts.places.filter { $0.open != nil }
        recordings = places.compactMap(\.open)
        ended = RecordingResult.allCases.indices.map { index in
            parts.places.reduce(0) { $0 &+ $1.ended[index] }
        }
        fileWords = parts.usedWords
        shown = ShownRecording.newest(of: parts.places, firstAddedWord: parts.usedWords)
        let declared = parts.liveSeries()
        runCells = RunCells(families, declared, phases: lifecycle.phases)
        series = (declared + shown.flatMap { [families] in $0.series(families) })
            .enumerated()
            .sorted { ($0.element.family, $0.offset) < ($1.element.family, $1.offset) }
            .map(\.element)
    }
}

/// The recording whose gauges stand for its stream: of several at a time, the newest.
struct ShownRecording: Sendable {
    /// Words that each adds to a snapshot: its start, and the time of its last write.
    static let addedWords = 2

    let recording: OpenRecording
    /// Index of its bytes in the file's words; the stamp of its last write is behind it.
    let word: Int
    let addedWord: Int

    static func newest(of places: [RecordingRecord], firstAddedWord: Int) -> [ShownRecording] {
        var byStream: [SeriesKey: RecordingRecord] = [:]
        for place in places {
            guard let open = place.open else { continue }
            let stream = SeriesKey(family: 0, values: [open.stream])
            if let rival = byStream[stream]?.open, rival.startedBoot > open.startedBoot {
                continue
            }
            byStream[stream] = place
        }
        let newest = byStream.sorted { $0.key.values[0] < $1.key.values[0] }.enumerated()
        return newest.compactMap { index, entry in
            entry.value.open.map {
                ShownRecording(
                    recording: $0,
                    word: entry.value.word,
                    addedWord: firstAddedWord + index * addedWords
                )
            }
        }
    }

    /// Its series, one of each family that is declared for recordings.
    func series(_ families: [MetricFamily]) -> [SegmentContents.Series] {
        let words = [addedWord, addedWord + 1, word]
        return zip(RunMetrics.perRecording, words).compactMap { family, word in
            families.firstIndex { $0.name == family.name && $0.hasShape(of: family) }.map {
                SegmentContents.Series(family: $0, values: [recording.stream], word: word)
            }
        }
    }
}
