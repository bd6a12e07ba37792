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
        writer.integer(UInt64(Checksum.crc32(writer.bytes)))
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
        var newest: (generation: UInt64, fields: RecordReader)?
        var (written, damaged) = (false, 0)
        for copy in 0..<section.copies {
            let start = section.offset(ofSlot: slot, copy: copy)
            let record = file[start..<start + section.stride]
            if isBlank(record) { continue }
            written = true
            guard let whole = unseal(record) else {
                damaged += 1
                continue
            }
            if whole.generation > newest?.generation ?? 0 { newest = whole }
        }
        if let newest { return .fields(newest.fields) }
        // A first write that death cut short leaves the other copy untouched: the record was never born.
        return written && damaged == section.copies ? .damaged : .never
    }

    private static func isBlank(_ record: ArraySlice<UInt8>) -> Bool {
        record.prefix(8).allSatisfy { $0 == 0 } && record.suffix(8).allSatisfy { $0 == 0 }
    }

    private static func unseal(
        _ record: ArraySlice<UInt8>
    ) -> (generation: UInt64, fields: RecordReader)? {
        var tail = RecordReader(record.suffix(8))
        guard tail.integer(UInt64.self) == UInt64(Checksum.crc32(record.dropLast(8))) else {
            return nil
        }
        var head = RecordReader(record.prefix(8))
        return (head.integer(), RecordReader(record.dropFirst(8).dropLast(8)))
    }
}
