/// A record as it stands in the file: its generation, its fields, and a checksum over both.
///
/// Two copies are written in turn. Whoever finds a copy half-written or damaged sees the same: a checksum that does not
/// hold; the other copy is then the truth.
enum RecordFrame {
    /// Bytes that the frame adds to the fields.
    static let overhead = 16

    static func seal(generation: UInt64, fields: [UInt8], stride: Int) -> [UInt8] {
        var writer = RecordWriter()
        writer.integer(generation)
        writer.raw(fields, width: stride - overhead)
        writer.integer(UInt64(Checksum.crc32(writer.bytes[...])))
        return writer.bytes
    }

    /// What a slot holds.
    enum Slot {
        case never
        case fields(RecordReader)
        case damaged
    }

    /// Finds the newest whole copy of a slot.
    static func open(_ file: [UInt8], _ section: SegmentLayout.Section, slot: Int) -> Slot {
        let start = section.offset(ofSlot: slot, copy: 0)
        let first = Copy(file, at: start, section.stride)
        guard section.copies == 2 else {
            if first.isBlank { return .never }
            return first.isWhole(file) ? .fields(first.fields(file)) : .damaged
        }
        let second = Copy(file, at: start + section.stride, section.stride)
        if first.isBlank, second.isBlank { return .never }
        let (newer, older) =
            first.generation > second.generation ? (first, second) : (second, first)
        if newer.isWhole(file) { return .fields(newer.fields(file)) }
        if older.isWhole(file) { return .fields(older.fields(file)) }
        // A first write that death cut short leaves the other copy untouched: the record was never born.
        return first.isBlank || second.isBlank ? .never : .damaged
    }

    /// One copy of a record, of which only the two ends have been looked at.
    private struct Copy {
        let start: Int
        let end: Int
        let generation: UInt64
        let checksum: UInt64

        init(_ file: [UInt8], at start: Int, _ stride: Int) {
            (self.start, end) = (start, start + stride)
            generation = file.word(at: start)
            checksum = file.word(at: start + stride - 8)
        }

        var isBlank: Bool { generation == 0 && checksum == 0 }

        func isWhole(_ file: [UInt8]) -> Bool {
            generation > 0 && checksum == UInt64(Checksum.crc32(file[start..<end - 8]))
        }

        func fields(_ file: [UInt8]) -> RecordReader {
            RecordReader(file[start + 8..<end - 8])
        }
    }
}
