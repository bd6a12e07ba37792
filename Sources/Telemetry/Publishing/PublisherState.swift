import Posix

/// A publisher's state, under its lock: what the records of the segment say.
struct PublisherState {
    let writer: SegmentWriter
    private(set) var header: SegmentHeader
    var metrics: DeclaredMetrics
    private(set) var lifecycle = Lifecycle()
    private var slots: [RecordingSlot]
    /// One for all histograms of the same bounds.
    private var histogramIndexes: [[UInt64]: HistogramIndex] = [:]
    /// Where all that found no room is written to, as far as one series of a valid family reaches.
    private let unpublishedWords = SharedMemory(privateWords: 1 + HistogramBuckets.maxCells)

    /// Fills new memory: header, lifecycle, the run's own families at 0 or where the last run left them, and history.
    init(_ plan: RunSettings, _ memory: SharedMemory, _ carried: CarriedState) {
        writer = SegmentWriter(layout: plan.layout, memory: memory)
        let slotCount = plan.layout[.recordings].count
        slots = (0..<slotCount).map { RecordingSlot(word: SegmentWord.firstFree + $0 * 2) }
        metrics = DeclaredMetrics(writer, firstWord: SegmentWord.firstFree + slotCount * 2)
        header = SegmentHeader(identity: plan.identity, layout: plan.layout, historyCount: 0)
        writer.write(header)
        lifecycle.phases = plan.phases.map {
            PhaseRecord(name: $0.name, budget: $0.budget.wholeNanoseconds)
        }
        change { _ in }
        declareRunMetrics(plan)
        apply(carried)
    }

    /// Goes on where the run's last publisher left its segment, which is mapped at `memory`.
    ///
    /// - Throws: when its parts do not stand where a publisher puts them.
    init(
        resuming parts: SegmentRecords,
        _ header: SegmentHeader,
        _ memory: SharedMemory
    ) throws(SegmentError) {
        let layout = header.layout
        self.header = header
        writer = SegmentWriter(layout: layout, memory: memory)
        let slotCount = layout[.recordings].count
        slots = (0..<slotCount).map { RecordingSlot(word: SegmentWord.firstFree + $0 * 2) }
        for place in parts.slots {
            guard let slot = slots.firstIndex(where: { $0.word == place.word }) else {
                throw .damaged(.recordings)
            }
            slots[slot] = place
        }
        let firstWord = max(SegmentWord.firstFree + slotCount * 2, parts.usedWords)
        metrics = try DeclaredMetrics(writer, resuming: parts, firstWord: firstWord)
        lifecycle = parts.lifecycle
        writer.settle()
        for word in firstWord..<layout[.words].count { writer.store(0, word: word) }
    }

    /// Changes the lifecycle and writes it, in one step for any reader.
    mutating func change(_ body: (inout Lifecycle) -> Void) {
        body(&lifecycle)
        var fields = RecordWriter()
        lifecycle.write(to: &fields)
        writer.write(.lifecycle, slot: 0, fields.bytes)
    }

    private mutating func declareRunMetrics(_ plan: RunSettings) {
        let created = plan.identity.startedWall
        for (family, series) in RunMetrics.families(phases: plan.phases.map(\.name)) {
            metrics.declare(family)
            for values in series {
                _ = metrics.word(of: family, values, created: created)
            }
        }
        let version = plan.identity.version.fitting(64)
        if let word = metrics.word(of: RunMetrics.recorderInfo, [version], created: created) {
            writer.store(1, word: word)
        }
    }

    /// Adds what earlier runs have counted to what this one has, and takes over their history; once in a run.
    mutating func apply(_ carried: CarriedState) {
        for one in carried.series where metrics.agree(with: one.family) {
            let word = metrics.word(
                of: one.family,
                one.values,
                created: one.created,
                inherited: true
            )
            guard let first = word else { continue }
            for (offset, cell) in one.cells.enumerated() {
                writer.addSaturating(cell, word: first + offset)
            }
        }
        guard !carried.history.isEmpty else { return }
        for (slot, run) in carried.history.enumerated() {
            writer.write(.history, slot: slot, run.fields)
        }
        header.historyCount = carried.history.count
        writer.write(header)
    }

    /// Writes all that is known here, over whatever another process has made of it; the history and the cells stay.
    func rewrite() {
        writer.write(header)
        writer.settle()
        metrics.rewrite()
        for slot in slots.indices where slots[slot] != RecordingSlot(word: slots[slot].word) {
            write(slot)
        }
        var fields = RecordWriter()
        lifecycle.write(to: &fields)
        writer.write(.lifecycle, slot: 0, fields.bytes)
    }
}

extension PublisherState {
    /// Finds a place for a recording; `nil` when all are taken.
    mutating func open(_ recording: OpenRecording) -> Int? {
        guard let slot = slots.firstIndex(where: { $0.open == nil }) else {
            metrics.reject()
            return nil
        }
        writer.store(0, word: slots[slot].word)
        writer.store(0, word: slots[slot].word + 1)
        slots[slot].open = recording
        write(slot)
        return slot
    }

    mutating func move(_ slot: Int, to path: String, container: String) {
        slots[slot].open?.path = path
        slots[slot].open?.container = container
        write(slot)
    }

    mutating func finalize(_ slot: Int) {
        slots[slot].open?.state = .finalizing
        write(slot)
    }

    /// Closes a recording and counts it, in one write; one that has no place is counted in the first.
    ///
    /// After the goodbye nothing is changed: the recording counts as abandoned, as readers have been told.
    mutating func close(_ slot: Int?, _ result: RecordingResult) {
        guard lifecycle.state != .stopped else { return }
        let index = RecordingResult.allCases.firstIndex(of: result) ?? 0
        let count = slots[slot ?? 0].ended[index]
        slots[slot ?? 0].ended[index] = count.addingWithSaturation(1)
        if let slot { slots[slot].open = nil }
        write(slot ?? 0)
    }

    /// The cell of a recording's bytes; one that nobody sees, where it has no place.
    func bytesCell(_ slot: Int?) -> Cell {
        slot.map { writer.cell(slots[$0].word) } ?? Cell(address: unpublishedWords.address)
    }

    private func write(_ slot: Int) {
        writer.write(.recordings, slot: slot, slots[slot].fields)
    }
}

extension PublisherState {
    /// The first cell of a series; one that nobody sees, where there is no room for it.
    mutating func cell(_ family: MetricFamily, _ values: [String]) -> Cell {
        if let word = metrics.word(of: family, values) { return writer.cell(word) }
        guard family.wordsPerSeries > unpublishedWords.wordCount else {
            return Cell(address: unpublishedWords.address)
        }
        return Cell(address: SharedMemory(privateWords: family.wordsPerSeries).address)
    }

    /// A handle of a histogram's series.
    mutating func histogram(_ family: MetricFamily, _ values: [String]) -> Histogram {
        let bounds = family.buckets?.cellBounds ?? []
        let index = histogramIndexes[bounds] ?? HistogramIndex(bounds)
        histogramIndexes[bounds] = index
        return Histogram(sum: cell(family, values), index: index)
    }

    /// The recordings that are open, each with its slot.
    var openRecordings: [(slot: Int, recording: OpenRecording)] {
        slots.enumerated().compactMap { slot, place in place.open.map { (slot, $0) } }
    }

    /// Gives all memory back: the state and its handles end with it.
    @unsafe func releaseMemory() {
        unsafe writer.memory.release()
        unsafe unpublishedWords.release()
        for index in histogramIndexes.values { unsafe index.memory.release() }
    }
}

/// What a publisher has declared in its segment: families, their series, and the words that these use.
struct DeclaredMetrics {
    private let writer: SegmentWriter
    private var families: [Family] = []
    private var series: [SeriesRecord] = []
    private var seriesIndex: [SeriesKey: Int] = [:]
    private var nextWord: Int
    private var rejected: UInt64 = 0

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
        resuming parts: SegmentRecords,
        firstWord: Int
    ) throws(SegmentError) {
        self.init(writer, firstWord: firstWord)
        rejected = writer.load(word: SegmentWord.rejected)
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
            reject()
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
            reject()
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
    mutating func reject() {
        rejected = rejected.addingWithSaturation(1)
        writer.store(rejected, word: SegmentWord.rejected)
    }

    /// Writes all records again.
    func rewrite() {
        for (slot, one) in families.enumerated() {
            writer.write(.families, slot: slot, FamilyRecord.fields(one.family))
        }
        for (slot, one) in series.enumerated() { writer.write(.series, slot: slot, one.fields) }
        writer.store(rejected, word: SegmentWord.rejected)
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

/// Writes records into a segment's memory, so that a reader finds each either as it was or as it is.
struct SegmentWriter: Sendable {
    let layout: SegmentLayout
    let memory: SharedMemory

    private var firstWord: Int { layout[.words].offset / 8 }

    /// Writes the header, and the mark at the end; readers do not see the file yet.
    func write(_ header: SegmentHeader) {
        store(header.bytes, at: 0)
        if let word = layout.endMarkWord { memory.store(SegmentLayout.endMark, at: word) }
    }

    /// Whether the header and the mark at the end are still what `write` has stored: whoever cuts the file destroys one.
    func isIntact(_ header: SegmentHeader) -> Bool {
        let bytes = header.bytes
        guard (0..<bytes.count / 8).allSatisfy({ memory.load($0) == bytes.word(at: $0 * 8) }) else {
            return false
        }
        return layout.endMarkWord.map { memory.load($0) == SegmentLayout.endMark } ?? true
    }

    /// The count of changes of records.
    var changes: UInt64 { load(word: SegmentWord.change) }

    /// The file's words that have no records.
    var words: Range<Int> { firstWord..<firstWord + layout[.words].count }

    /// Writes the next copy of a record, over the older one.
    func write(_ part: SegmentLayout.Part, slot: Int, _ fields: [UInt8]) {
        let section = layout[part]
        let generations = (0..<section.copies).map {
            memory.load(section.offset(ofSlot: slot, copy: $0) / 8)
        }
        // Other processes may write to the file, anything: it must not end this one.
        let next = max(1, (generations.max() ?? 0) &+ 1)
        let copy = Int(next % UInt64(section.copies))
        let record = RecordCoding.encode(generation: next, fields: fields, stride: section.stride)
        memory.increment(firstWord + SegmentWord.change)
        store(record, at: section.offset(ofSlot: slot, copy: copy))
        memory.increment(firstWord + SegmentWord.change)
    }

    /// Ends the change in whose middle the segment's last writer died.
    func settle() {
        let changes = firstWord + SegmentWord.change
        if memory.load(changes) % 2 == 1 { memory.increment(changes) }
    }

    func cell(_ word: Int) -> Cell {
        Cell(address: memory.address(ofWord: firstWord + word))
    }

    func addSaturating(_ amount: UInt64, word: Int) {
        memory.addSaturating(amount, at: firstWord + word)
    }

    func load(word: Int) -> UInt64 { memory.load(firstWord + word) }

    func store(_ value: UInt64, word: Int) {
        memory.store(value, at: firstWord + word)
    }

    private func store(_ bytes: [UInt8], at offset: Int) {
        for index in 0..<bytes.count / 8 {
            memory.store(bytes.word(at: index * 8), at: offset / 8 + index)
        }
    }
}
