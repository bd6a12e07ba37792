package import Posix

/// The contents of a segment except the words: all that changes rarely.
///
/// Immutable; snapshots share it.
package final class SegmentContents: Sendable {
    package let identity: RunIdentity
    package let lifecycle: Lifecycle
    package let families: [MetricFamily]
    /// Series that are not retired, in the order of their families.
    package let series: [Series]
    package let recordings: [OpenRecording]
    /// Numbers of recordings of this run that ended, in the order of `RecordingResult.allCases`.
    package let ended: [UInt64]
    /// The oldest run first.
    package let history: [PastRun]

    /// A series: the index of its family, its label values, the index of its first word, and the time since which it counts.
    package struct Series: Sendable {
        package let family: Int
        package let values: [String]
        package let word: Int
        /// 1970 if not known.
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

    /// The slots of `recordings`, in the same order.
    let slots: [RecordingSlot]
    let runCells: RunCells
    let shown: [DisplayedRecording]
    /// Number of words of the file that are referred to; in a snapshot, those of `shown` follow.
    let fileWords: Int
    /// Indexes of the words that never decrease while the file is read.
    let counts: [Range<Int>]
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
        let declared = parts.liveSeries()
        counts = Self.counts(of: declared, families)
        shown = DisplayedRecording.newest(of: parts.slots, firstAddedWord: parts.usedWords)
        runCells = RunCells(families, declared, phases: lifecycle.phases)
        series = (declared + shown.flatMap { [families] in $0.series(families) })
            .enumerated()
            .sorted { ($0.element.family, $0.offset) < ($1.element.family, $1.offset) }
            .map(\.element)
    }

    /// The words of all counters and histograms; series that follow each other are one range.
    private static func counts(of series: [Series], _ families: [MetricFamily]) -> [Range<Int>] {
        var ranges: [Range<Int>] = []
        for one in series where families[one.family].isCounted {
            let end = one.word + families[one.family].wordsPerSeries
            if let last = ranges.last, last.upperBound == one.word {
                ranges[ranges.count - 1] = last.lowerBound..<end
            } else {
                ranges.append(one.word..<end)
            }
        }
        return ranges
    }
}

/// The recording that provides the gauges of its stream: of several open ones, the newest.
struct DisplayedRecording: Sendable {
    /// Words that each adds to a snapshot: its start and the time of its last write.
    static let addedWords = 2

    let recording: OpenRecording
    /// Index of the word with the number of its bytes; the next word is the time of its last write.
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

    /// Its series: one for each of the families of recordings that the segment declares.
    func series(_ families: [MetricFamily]) -> [SegmentContents.Series] {
        let words = [addedWord, addedWord + 1, word]
        return zip(RunMetrics.perRecording, words).compactMap { family, word in
            families.firstIndex { $0.name == family.name && $0.hasShape(of: family) }.map {
                SegmentContents.Series(family: $0, values: [recording.stream], word: word)
            }
        }
    }
}

/// The records of a segment, parsed from a copy of the file, which may contain any bytes.
struct SegmentRecords {
    var identity: RunIdentity
    var lifecycle: Lifecycle
    /// Declared families, each with its slot, which series refer to.
    var families: [(slot: Int, family: MetricFamily)] = []
    var series: [(slot: Int, record: SeriesRecord)] = []
    var slots: [RecordingSlot] = []
    var history: [PastRun] = []
    var usedWords = SegmentWord.firstFree

    /// Reads the records from a copy of the complete file.
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
        try readRecordings(file, layout)
        try readHistory(file, layout[.history], count: header.historyCount)
    }

    /// Series that are not retired, without duplicates; families are identified by their position.
    ///
    /// Series of the families of recordings are derived, so declared ones are left out: they could be duplicates.
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
                // If the first write of the family was interrupted, the family was never created.
                guard let family = familyBySlot[record.family] else { continue }
                // A retired series may belong to an earlier declaration of the family, with another shape.
                guard
                    record.isRetired
                        || record.values.count == family.labels.count
                            && use(record.word, family.wordsPerSeries, of: layout)
                else { throw .damaged(.series) }
                if !record.isRetired { claimedWords += family.wordsPerSeries }
                series.append((slot, record))
            }
        }
        // Series that share words would make a long page from a small file. Duplicates are not shown.
        guard claimedWords > layout[.words].count else { return }
        let shownWords = liveSeries().reduce(0) { $0 + families[$1.family].family.wordsPerSeries }
        guard shownWords <= layout[.words].count else { throw .damaged(.series) }
    }

    private mutating func readRecordings(
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

    /// Records a reference to words; `false` if the file does not have them.
    private mutating func use(_ first: Int, _ count: Int, of layout: SegmentLayout) -> Bool {
        guard first >= SegmentWord.firstFree, count <= layout[.words].count,
            first <= layout[.words].count - count
        else { return false }
        usedWords = max(usedWords, first + count)
        return true
    }
}
