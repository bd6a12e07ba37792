import Posix

/// The state of a publisher, protected by its lock: what the records of the segment contain.
struct PublisherState {
    let writer: SegmentWriter
    private(set) var header: SegmentHeader
    var metrics: DeclaredMetrics
    private(set) var lifecycle = Lifecycle()
    private var slots: [RecordingSlot]
    /// Histograms with the same bounds share one.
    private var histogramIndexes: [[UInt64]: HistogramIndex] = [:]
    /// Memory for handles of series for which there was no room; large enough for a series of any valid family.
    private let unpublishedWords = SharedMemory(privateWords: 1 + HistogramBuckets.maxCells)

    /// Writes a new segment: header, lifecycle, history, and the families in `RunMetrics` with the values of earlier runs.
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

    /// Continues with the segment of the run's previous publisher, which is mapped at `memory`.
    ///
    /// - Throws: if its records are not where a publisher writes them.
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

    /// Changes the lifecycle and writes it; a reader sees all changes or none.
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

    /// Adds the counts of earlier runs to those of this run, and takes over their history; once in a run.
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

    /// Writes all records again, which another process may have overwritten, but neither the history nor the cells.
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
    /// Opens a recording in a free slot; `nil` if there is none.
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

    /// Closes a recording and counts it in one write; a recording without a slot is counted in the first slot.
    ///
    /// Nothing changes after `finish`, because readers have already counted the recording as abandoned.
    mutating func close(_ slot: Int?, _ result: RecordingResult) {
        guard lifecycle.state != .stopped else { return }
        let index = RecordingResult.allCases.firstIndex(of: result) ?? 0
        let count = slots[slot ?? 0].ended[index]
        slots[slot ?? 0].ended[index] = count.addingWithSaturation(1)
        if let slot { slots[slot].open = nil }
        write(slot ?? 0)
    }

    /// The cell for the bytes of a recording; without a slot, one that is not published.
    func bytesCell(_ slot: Int?) -> Cell {
        slot.map { writer.cell(slots[$0].word) } ?? Cell(address: unpublishedWords.address)
    }

    private func write(_ slot: Int) {
        writer.write(.recordings, slot: slot, slots[slot].fields)
    }
}

extension PublisherState {
    /// The first cell of a series; one that is not published if there is no room.
    mutating func cell(_ family: MetricFamily, _ values: [String]) -> Cell {
        if let word = metrics.word(of: family, values) { return writer.cell(word) }
        guard family.wordsPerSeries > unpublishedWords.wordCount else {
            return Cell(address: unpublishedWords.address)
        }
        return Cell(address: SharedMemory(privateWords: family.wordsPerSeries).address)
    }

    /// A handle for a series of a histogram.
    mutating func histogram(_ family: MetricFamily, _ values: [String]) -> Histogram {
        let bounds = family.buckets?.cellBounds ?? []
        let index = histogramIndexes[bounds] ?? HistogramIndex(bounds)
        histogramIndexes[bounds] = index
        return Histogram(sum: cell(family, values), index: index)
    }

    /// The open recordings with their slots.
    var openRecordings: [(slot: Int, recording: OpenRecording)] {
        slots.enumerated().compactMap { slot, place in place.open.map { (slot, $0) } }
    }

    /// Frees all memory: the state and its handles must not be used any more.
    @unsafe func releaseMemory() {
        unsafe writer.memory.release()
        unsafe unpublishedWords.release()
        for index in histogramIndexes.values { unsafe index.memory.release() }
    }
}

/// The declared metrics of a segment: families, series, and the words that they use.
struct DeclaredMetrics {
    private let writer: SegmentWriter
    private var families: [Family] = []
    private var series: [SeriesRecord] = []
    private var seriesIndex: [SeriesKey: Int] = [:]
    private var nextWord: Int
    private var rejected: UInt64 = 0

    private struct Family {
        var family: MetricFamily
        /// Declared by an earlier run only, so this run may declare another shape.
        var isInherited: Bool
    }

    init(_ writer: SegmentWriter, firstWord: Int) {
        (self.writer, nextWord) = (writer, firstWord)
    }

    /// The metrics that the run's previous publisher declared; the words from `firstWord` on are free.
    ///
    /// Retired series stay retired, and their words are free, because their families may have had other shapes.
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

    /// The index of the first word of a series, which is declared if necessary.
    ///
    /// `nil`, and counted, if there is no room or the family has another shape. `created` is for a new series.
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

    /// Whether `family`, of an earlier run, has the same shape in this run; otherwise its counts are not carried over.
    func agree(with family: MetricFamily) -> Bool {
        families.first { $0.family.name == family.name }?.family.hasShape(of: family) ?? true
    }

    /// Declares a family; returns its slot, or `nil` if its name has another shape or there is no room.
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

    /// Removes a series from the exposition; it keeps its words in case it is declared again.
    mutating func retire(_ name: String, _ values: [String]) {
        guard let slot = families.firstIndex(where: { $0.family.name == name }),
            let index = seriesIndex[SeriesKey(family: slot, values: values)]
        else { return }
        setRetired(true, index)
    }

    /// Counts a declaration or recording for which there was no room.
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
            // Another version used this name for something else: its counts end here.
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

    /// Sets the time since which a series counts to that of an earlier run.
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

/// Writes records into the memory of a segment; a reader sees each record either before or after a write.
struct SegmentWriter: Sendable {
    let layout: SegmentLayout
    let memory: SharedMemory

    private var firstWord: Int { layout[.words].offset / 8 }

    /// Writes the header and the end mark, before readers see the file.
    func write(_ header: SegmentHeader) {
        store(header.bytes, at: 0)
        if let word = layout.endMarkWord { memory.store(SegmentLayout.endMark, at: word) }
    }

    /// Whether the header and the end mark are unchanged; truncating the file destroys one of them.
    func isIntact(_ header: SegmentHeader) -> Bool {
        let bytes = header.bytes
        guard (0..<bytes.count / 8).allSatisfy({ memory.load($0) == bytes.word(at: $0 * 8) }) else {
            return false
        }
        return layout.endMarkWord.map { memory.load($0) == SegmentLayout.endMark } ?? true
    }

    /// The count of changes of records.
    var changes: UInt64 { load(word: SegmentWord.change) }

    /// The part of words, as indexes of the file's words.
    var words: Range<Int> { firstWord..<firstWord + layout[.words].count }

    /// Writes the next copy of a record, over the older one.
    func write(_ part: SegmentLayout.Part, slot: Int, _ fields: [UInt8]) {
        let section = layout[part]
        let generations = (0..<section.copies).map {
            memory.load(section.offset(ofSlot: slot, copy: $0) / 8)
        }
        // Other processes may write anything to the file, which must not cause a trap.
        let next = max(1, (generations.max() ?? 0) &+ 1)
        let copy = Int(next % UInt64(section.copies))
        let record = RecordCoding.encode(generation: next, fields: fields, stride: section.stride)
        memory.increment(firstWord + SegmentWord.change)
        store(record, at: section.offset(ofSlot: slot, copy: copy))
        memory.increment(firstWord + SegmentWord.change)
    }

    /// Ends the change that the segment's previous writer was making when it was killed.
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
