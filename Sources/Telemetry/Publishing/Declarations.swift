import Posix

/// What a publisher has declared in its segment: families, their series, and the words that these use.
struct Declarations {
    private let writer: SegmentWriter
    private var families: [Family] = []
    private var series: [SeriesRecord] = []
    private var seriesIndex: [SeriesKey: Int] = [:]
    private var nextWord: Int
    private var refused: UInt64 = 0

    private struct Family {
        var family: MetricFamily
        /// Declared by an earlier run only: this one may still give it another shape.
        var isInherited: Bool
    }

    init(_ writer: SegmentWriter, firstWord: Int) {
        (self.writer, nextWord) = (writer, firstWord)
    }

    /// What the run's last publisher declared; the words from `firstWord` on are free.
    ///
    /// A series that was retired stays so, and its words are free: its family may have had another shape then.
    init(
        _ writer: SegmentWriter,
        resuming parts: SegmentParts,
        firstWord: Int
    ) throws(SegmentError) {
        self.init(writer, firstWord: firstWord)
        refused = writer.load(word: SegmentWord.refused)
        guard parts.families.map(\.slot) == Array(parts.families.indices) else {
            throw .damaged(.families)
        }
        guard parts.series.map(\.slot) == Array(parts.series.indices) else {
            throw .damaged(.series)
        }
        families = parts.families.map { Family(family: $0.family, isInherited: false) }
        series = parts.series.map(\.record)
        for (index, one) in series.enumerated() where !one.isRetired {
            seriesIndex[SeriesKey(family: one.family, values: one.values)] = index
        }
    }

    /// The index of a series' first word, found or made; `nil`, and counted, when there is no room or no such shape.
    ///
    /// `created` says since when it counts, if it is made.
    mutating func word(
        of family: MetricFamily,
        _ values: [String],
        created: WallTime = .now(),
        inherited: Bool = false
    ) -> Int? {
        guard let slot = declare(family, inherited: inherited), values.count == family.labels.count
        else {
            refuse()
            return nil
        }
        let key = SeriesKey(family: slot, values: values)
        if let known = seriesIndex[key] {
            if inherited { date(known, created) }
            revive(known)
            return series[known].word
        }
        let size = family.wordsPerSeries
        guard SeriesRecord.holds(values), series.count < writer.layout[.series].count,
            nextWord + size <= writer.layout[.words].count
        else {
            refuse()
            return nil
        }
        seriesIndex[key] = series.count
        series.append(
            SeriesRecord(family: slot, word: nextWord, created: created, values: values)
        )
        nextWord += size
        writer.write(.series, slot: series.count - 1, series[series.count - 1].fields)
        return series[series.count - 1].word
    }

    /// Whether `family`, of an earlier run, means what this run means by its name: other counts end with the earlier run.
    func agree(with family: MetricFamily) -> Bool {
        families.first { $0.family.name == family.name }?.family.hasShape(of: family) ?? true
    }

    /// Declares a family; its slot, or `nil` when its name has another shape or there is no room.
    @discardableResult
    mutating func declare(_ family: MetricFamily, inherited: Bool = false) -> Int? {
        if let slot = families.firstIndex(where: { $0.family.name == family.name }) {
            return inherited ? slot : adopt(family, slot: slot)
        }
        guard FamilyRecord.holds(family), families.count < writer.layout[.families].count else {
            return nil
        }
        families.append(Family(family: family, isInherited: inherited))
        writer.write(.families, slot: families.count - 1, FamilyRecord.fields(family))
        return families.count - 1
    }

    /// Takes a series out of the exposition; its words stay its own, for when it comes back.
    mutating func retire(_ name: String, _ values: [String]) {
        guard let slot = families.firstIndex(where: { $0.family.name == name }),
            let index = seriesIndex[SeriesKey(family: slot, values: values)]
        else { return }
        setRetired(true, index)
    }

    /// Counts something that found no room.
    mutating func refuse() {
        refused = refused.addingWithSaturation(1)
        writer.store(refused, word: SegmentWord.refused)
    }

    /// Writes all records again.
    func rewrite() {
        for (slot, one) in families.enumerated() {
            writer.write(.families, slot: slot, FamilyRecord.fields(one.family))
        }
        for (slot, one) in series.enumerated() { writer.write(.series, slot: slot, one.fields) }
        writer.store(refused, word: SegmentWord.refused)
    }

    private mutating func adopt(_ family: MetricFamily, slot: Int) -> Int? {
        let known = families[slot]
        guard known.family != family else {
            families[slot].isInherited = false
            return slot
        }
        if !known.family.hasShape(of: family) {
            guard known.isInherited, FamilyRecord.holds(family) else { return nil }
            // Another version's meaning of this name ends here, and with it what was counted.
            dropSeries(of: slot)
        }
        families[slot] = Family(family: family, isInherited: false)
        writer.write(.families, slot: slot, FamilyRecord.fields(family))
        return slot
    }

    private mutating func dropSeries(of slot: Int) {
        for (key, index) in seriesIndex where key.family == slot {
            setRetired(true, index)
            seriesIndex[key] = nil
        }
    }

    private mutating func revive(_ index: Int) {
        setRetired(false, index)
    }

    /// Corrects when a series began to count: in an earlier run than this one.
    private mutating func date(_ index: Int, _ created: WallTime) {
        guard series[index].created != created else { return }
        series[index].created = created
        writer.write(.series, slot: index, series[index].fields)
    }

    private mutating func setRetired(_ isRetired: Bool, _ index: Int) {
        guard series[index].isRetired != isRetired else { return }
        series[index].isRetired = isRetired
        writer.write(.series, slot: index, series[index].fields)
    }
}
