import Posix

/// A publisher's state, under its lock: what the records of the segment say.
struct Board {
    let writer: SegmentWriter
    private(set) var header: SegmentHeader
    var declarations: Declarations
    private(set) var lifecycle = Lifecycle()
    private var places: [RecordingRecord]
    /// One for all histograms of the same bounds.
    private var histogramIndexes: [[UInt64]: HistogramIndex] = [:]
    /// Where all that found no room is written to, as far as one series of a valid family reaches.
    private let scrap = SharedMemory(privateWords: 1 + HistogramBuckets.mostCells)

    /// Fills new memory: header, lifecycle, the run's own families at 0 or where the last run left them, and history.
    init(_ plan: RunPlan, _ memory: SharedMemory, _ inheritance: Inheritance) {
        writer = SegmentWriter(layout: plan.layout, memory: memory)
        let placeCount = plan.layout[.recordings].count
        places = (0..<placeCount).map { RecordingRecord(word: SegmentWord.firstFree + $0 * 2) }
        declarations = Declarations(writer, firstWord: SegmentWord.firstFree + placeCount * 2)
        header = SegmentHeader(identity: plan.identity, layout: plan.layout, historyCount: 0)
        writer.write(header)
        lifecycle.phases = plan.phases.map {
            PhaseRecord(name: $0.name, budget: $0.budget.wholeNanoseconds)
        }
        change { _ in }
        declareRunMetrics(plan)
        take(over: inheritance)
    }

    /// Goes on where the run's last publisher left its segment, which is mapped at `memory`.
    ///
    /// - Throws: when its parts do not stand where a publisher puts them.
    init(
        resuming parts: SegmentParts,
        _ header: SegmentHeader,
        _ memory: SharedMemory
    ) throws(SegmentError) {
        let layout = header.layout
        self.header = header
        writer = SegmentWriter(layout: layout, memory: memory)
        let placeCount = layout[.recordings].count
        places = (0..<placeCount).map { RecordingRecord(word: SegmentWord.firstFree + $0 * 2) }
        for place in parts.places {
            guard let slot = places.firstIndex(where: { $0.word == place.word }) else {
                throw .damaged(.recordings)
            }
            places[slot] = place
        }
        let firstWord = max(SegmentWord.firstFree + placeCount * 2, parts.usedWords)
        declarations = try Declarations(writer, resuming: parts, firstWord: firstWord)
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

    private mutating func declareRunMetrics(_ plan: RunPlan) {
        let created = plan.identity.startedWall
        for (family, series) in RunMetrics.families(phases: plan.phases.map(\.name)) {
            declarations.declare(family)
            for values in series {
                _ = declarations.word(of: family, values, created: created)
            }
        }
        let version = plan.identity.version.fitting(64)
        if let word = declarations.word(of: RunMetrics.recorderInfo, [version], created: created) {
            writer.store(1, word: word)
        }
    }

    /// Adds what earlier runs have counted to what this one has, and takes over their history; once in a run.
    mutating func take(over inheritance: Inheritance) {
        for one in inheritance.series where declarations.agree(with: one.family) {
            let word = declarations.word(
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
        guard !inheritance.history.isEmpty else { return }
        for (slot, run) in inheritance.history.enumerated() {
            writer.write(.history, slot: slot, run.fields)
        }
        header.historyCount = inheritance.history.count
        writer.write(header)
    }

    /// Writes all that is known here, over whatever another process has made of it; the history and the cells stay.
    func rewrite() {
        writer.write(header)
        writer.settle()
        declarations.rewrite()
        for slot in places.indices where places[slot] != RecordingRecord(word: places[slot].word) {
            write(slot)
        }
        var fields = RecordWriter()
        lifecycle.write(to: &fields)
        writer.write(.lifecycle, slot: 0, fields.bytes)
    }
}

extension Board {
    /// Finds a place for a recording; `nil` when all are taken.
    mutating func open(_ recording: OpenRecording) -> Int? {
        guard let slot = places.firstIndex(where: { $0.open == nil }) else {
            declarations.refuse()
            return nil
        }
        writer.store(0, word: places[slot].word)
        writer.store(0, word: places[slot].word + 1)
        places[slot].open = recording
        write(slot)
        return slot
    }

    mutating func move(_ slot: Int, to path: String, container: String) {
        places[slot].open?.path = path
        places[slot].open?.container = container
        write(slot)
    }

    mutating func finalize(_ slot: Int) {
        places[slot].open?.state = .finalizing
        write(slot)
    }

    /// Closes a recording and counts it, in one write; one that has no place is counted in the first.
    ///
    /// After the goodbye nothing is changed: the recording counts as abandoned, as readers have been told.
    mutating func close(_ slot: Int?, _ result: RecordingResult) {
        guard lifecycle.state != .stopped else { return }
        let index = RecordingResult.allCases.firstIndex(of: result) ?? 0
        let count = places[slot ?? 0].ended[index]
        places[slot ?? 0].ended[index] = count.addingWithSaturation(1)
        if let slot { places[slot].open = nil }
        write(slot ?? 0)
    }

    /// The cell of a recording's bytes; one that nobody sees, where it has no place.
    func bytesCell(_ slot: Int?) -> Cell {
        slot.map { writer.cell(places[$0].word) } ?? Cell(address: scrap.address)
    }

    private func write(_ slot: Int) {
        writer.write(.recordings, slot: slot, places[slot].fields)
    }
}

extension Board {
    /// The first cell of a series; one that nobody sees, where there is no room for it.
    mutating func cell(_ family: MetricFamily, _ values: [String]) -> Cell {
        if let word = declarations.word(of: family, values) { return writer.cell(word) }
        guard family.wordsPerSeries > scrap.wordCount else { return Cell(address: scrap.address) }
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
        places.enumerated().compactMap { slot, place in place.open.map { (slot, $0) } }
    }

    /// Gives all memory back: the board and its handles end with it.
    @unsafe func releaseMemory() {
        unsafe writer.memory.release()
        unsafe scrap.release()
        for index in histogramIndexes.values { unsafe index.memory.release() }
    }
}
