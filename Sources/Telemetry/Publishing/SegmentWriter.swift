import Posix

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
        let record = RecordFrame.seal(generation: next, fields: fields, stride: section.stride)
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
