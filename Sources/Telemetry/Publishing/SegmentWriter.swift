import Posix

/// Writes records into a segment's memory, so that a reader finds each either as it was or as it is.
struct SegmentWriter: Sendable {
    let layout: SegmentLayout
    let memory: SharedMemory

    private var firstWord: Int { layout[.words].offset / 8 }

    /// Writes the header; readers do not see the file yet.
    func write(_ header: SegmentHeader) {
        store(header.bytes, at: 0)
    }

    /// Writes the next copy of a record, over the older one.
    func write(_ part: SegmentLayout.Part, slot: Int, _ fields: [UInt8]) {
        let section = layout[part]
        let generations = (0..<section.copies).map {
            memory.load(section.offset(ofSlot: slot, copy: $0) / 8)
        }
        let next = (generations.max() ?? 0) + 1
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
