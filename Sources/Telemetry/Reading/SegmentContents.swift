package import Posix

/// What a segment holds, but for the words: all that changes rarely.
///
/// Immutable, and shared by the snapshots taken of it.
package final class SegmentContents: Sendable {
    package let identity: RunIdentity
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
    let slots: [RecordingSlot]
    let runCells: RunCells
    let shown: [DisplayedRecording]
    /// Words of the file that anything here refers to; a snapshot has those of the shown recordings behind them.
    let fileWords: Int
    var addedWords: Int { shown.count * DisplayedRecording.addedWords }

    init(_ parts: SegmentRecords) {
        identity = parts.identity
        lifecycle = parts.lifecycle
        families = parts.families.map(\.family)
        history = parts.history
        slots = parts.slots.filter { $0.open != nil }
        recordings = slots.compactMap(\.open)
        ended = RecordingResult.allCases.indices.map { index in
            parts.slots.reduce(0) { $0 &+ $1.ended[index] }
        }
        fileWords = parts.usedWords
        shown = DisplayedRecording.newest(of: parts.slots, firstAddedWord: parts.usedWords)
        let declared = parts.liveSeries()
        runCells = RunCells(families, declared, phases: lifecycle.phases)
        series = (declared + shown.flatMap { [families] in $0.series(families) })
            .enumerated()
            .sorted { ($0.element.family, $0.offset) < ($1.element.family, $1.offset) }
            .map(\.element)
    }
}

/// The recording whose gauges stand for its stream: of several at a time, the newest.
struct DisplayedRecording: Sendable {
    /// Words that each adds to a snapshot: its start, and the time of its last write.
    static let addedWords = 2

    let recording: OpenRecording
    /// Index of its bytes in the file's words; the stamp of its last write is behind it.
    let word: Int
    let addedWord: Int

    static func newest(of slots: [RecordingSlot], firstAddedWord: Int) -> [DisplayedRecording] {
        var byStream: [SeriesKey: RecordingSlot] = [:]
        for place in slots {
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
                DisplayedRecording(
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

/// The records of a segment, parsed from a copy of the file: total, for any bytes whatsoever.
struct SegmentRecords {
    var identity: RunIdentity
    var lifecycle: Lifecycle
    /// Declared families, each with the slot that series name it by.
    var families: [(slot: Int, family: MetricFamily)] = []
    var series: [(slot: Int, record: SeriesRecord)] = []
    var slots: [RecordingSlot] = []
    var history: [PastRun] = []
    var usedWords = SegmentWord.firstFree

    /// Reads the records of a copy of the file, which is as long as the header says.
    init(_ file: [UInt8], _ header: SegmentHeader) throws(SegmentError) {
        guard file.count >= header.layout.fileSize else { throw .truncated }
        let layout = header.layout
        identity = header.identity
        guard case .fields(var record) = RecordCoding.decode(file, layout[.lifecycle], slot: 0),
            let lifecycle = Lifecycle(&record)
        else { throw .damaged(.lifecycle) }
        self.lifecycle = lifecycle
        try readFamilies(file, layout[.families])
        try readSeries(file, layout)
        try readPlaces(file, layout)
        try readHistory(file, layout[.history], count: header.historyCount)
    }

    /// Series that are not retired, without repetitions, by position of the family.
    ///
    /// Those of a recording's families are derived from the recordings: another one of the same stream would be a repetition.
    func liveSeries() -> [SegmentContents.Series] {
        var positions: [Int: Int] = [:]
        for (position, entry) in families.enumerated()
        where !RunMetrics.areDerived(seriesOf: entry.family) {
            positions[entry.slot] = position
        }
        var seen: Set<SeriesKey> = []
        return series.compactMap { _, record in
            guard !record.isRetired, let position = positions[record.family],
                seen.insert(.init(family: position, values: record.values)).inserted
            else { return nil }
            return .init(
                family: position,
                values: record.values,
                word: record.word,
                created: record.created
            )
        }
    }

    private mutating func readFamilies(
        _ file: [UInt8],
        _ section: SegmentLayout.Section
    ) throws(SegmentError) {
        var names: Set<String> = []
        for slot in 0..<section.count {
            switch RecordCoding.decode(file, section, slot: slot) {
            case .never: continue
            case .damaged: throw .damaged(.families)
            case .fields(let record):
                guard let family = FamilyRecord.family(record), names.insert(family.name).inserted
                else { throw .damaged(.families) }
                families.append((slot, family))
            }
        }
    }

    private mutating func readSeries(
        _ file: [UInt8],
        _ layout: SegmentLayout
    ) throws(SegmentError) {
        var claimedWords = 0
        let familyBySlot = Dictionary(uniqueKeysWithValues: families.map { ($0.slot, $0.family) })
        for slot in 0..<layout[.series].count {
            switch RecordCoding.decode(file, layout[.series], slot: slot) {
            case .never: continue
            case .damaged: throw .damaged(.series)
            case .fields(let fields):
                guard let record = SeriesRecord(fields) else { throw .damaged(.series) }
                // A family whose first write was interrupted was never created, and its series cannot be shown.
                guard let family = familyBySlot[record.family] else { continue }
                // A retired one may be of what its family meant in an earlier run.
                guard
                    record.isRetired
                        || record.values.count == family.labels.count
                            && use(record.word, family.wordsPerSeries, of: layout)
                else { throw .damaged(.series) }
                if !record.isRetired { claimedWords += family.wordsPerSeries }
                series.append((slot, record))
            }
        }
        // Series that share words would make a page of any length from a small file. A repetition of a series is not shown.
        guard claimedWords > layout[.words].count else { return }
        let shownWords = liveSeries().reduce(0) { $0 + families[$1.family].family.wordsPerSeries }
        guard shownWords <= layout[.words].count else { throw .damaged(.series) }
    }

    private mutating func readPlaces(
        _ file: [UInt8],
        _ layout: SegmentLayout
    ) throws(SegmentError) {
        for slot in 0..<layout[.recordings].count {
            switch RecordCoding.decode(file, layout[.recordings], slot: slot) {
            case .never: continue
            case .damaged: throw .damaged(.recordings)
            case .fields(let fields):
                guard let place = RecordingSlot(fields), use(place.word, 2, of: layout) else {
                    throw .damaged(.recordings)
                }
                slots.append(place)
            }
        }
    }

    private mutating func readHistory(
        _ file: [UInt8],
        _ section: SegmentLayout.Section,
        count: Int
    ) throws(SegmentError) {
        for slot in 0..<count {
            guard case .fields(let fields) = RecordCoding.decode(file, section, slot: slot),
                let run = PastRun(fields)
            else { throw .damaged(.history) }
            history.append(run)
        }
    }

    /// Notes that words are referred to; `false` when the file does not have them.
    private mutating func use(_ first: Int, _ count: Int, of layout: SegmentLayout) -> Bool {
        guard first >= SegmentWord.firstFree, count <= layout[.words].count,
            first <= layout[.words].count - count
        else { return false }
        usedWords = max(usedWords, first + count)
        return true
    }
}
