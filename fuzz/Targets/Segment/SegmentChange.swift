@testable import StreamVaultTelemetry

/// A change to one record, after which its checksum holds again: no generator guesses one.
///
/// Five bytes tell it: which record and where in it (16 bits, little-endian, modulo what there is), and what is put there.
/// With the highest bit of the place that is a word, one of those at which integers and floating point numbers turn.
struct SegmentChange {
    private let record: Int
    private let place: Int
    private let value: UInt8

    private static let size = 5
    private static let words: [UInt64] = [
        0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 1 << 32, .max >> 1,
        1 << 63, .max - 1, .max, 999_999_999, 1_000_000_000, (0.5).bitPattern,
        Double.infinity.bitPattern, Double.nan.bitPattern, (-0.0).bitPattern,
    ]

    static func all(in bytes: ArraySlice<UInt8>) -> [SegmentChange] {
        stride(from: bytes.startIndex, through: bytes.endIndex - size, by: size).map { start in
            let number = { Int(bytes[start + $0]) | Int(bytes[start + $0 + 1]) << 8 }
            return SegmentChange(record: number(0), place: number(2), value: bytes[start + 4])
        }
    }

    private var word: UInt64 { Self.words[Int(value) % Self.words.count] }
    private var isWord: Bool { place & 0x8000 != 0 }

    func apply(to file: inout [UInt8]) {
        let record = sample.records[record % sample.records.count]
        if isWord {
            let offset = (place & 0x7FFF) * 8 % (record.count - 8) & ~7
            replace(record.lowerBound + offset, in: &file, with: word)
        } else {
            file[record.lowerBound + place % (record.count - 8)] = value
        }
        let checksum = Checksum.crc32(file[record.dropLast(8)])
        replace(record.upperBound - 8, in: &file, with: UInt64(checksum))
    }

    /// The same to the values: one is replaced, or counts on.
    func apply(to words: inout [UInt64]) {
        let index = record % words.count
        words[index] = isWord ? word : words[index] &+ UInt64(value)
    }

    private func replace(_ start: Int, in file: inout [UInt8], with word: UInt64) {
        var writer = RecordWriter()
        writer.integer(word)
        file.replaceSubrange(start..<start + 8, with: writer.bytes)
    }
}
