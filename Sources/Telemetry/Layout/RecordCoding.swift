/// A record in the file: its generation, its fields, and a checksum of both.
///
/// Most records have two copies, which are written alternately. If the checksum of one copy does not match, because it is
/// being written or is damaged, the other copy is valid.
enum RecordCoding {
    /// Bytes of the generation and the checksum.
    static let overhead = 16

    static func encode(generation: UInt64, fields: [UInt8], stride: Int) -> [UInt8] {
        var writer = RecordWriter()
        writer.integer(generation)
        writer.raw(fields, width: stride - overhead)
        writer.integer(UInt64(Checksum.crc32(writer.bytes[...])))
        return writer.bytes
    }

    /// The content of a slot.
    enum Slot {
        /// No record was ever written completely.
        case never
        case fields(RecordReader)
        case damaged
    }

    /// Finds the newest valid copy in a slot.
    static func decode(_ file: [UInt8], _ section: SegmentLayout.Section, slot: Int) -> Slot {
        let start = section.offset(ofSlot: slot, copy: 0)
        let first = Copy(file, at: start, section.stride)
        guard section.copies == 2 else {
            if first.isBlank { return .never }
            return first.isComplete(file) ? .fields(first.fields(file)) : .damaged
        }
        let second = Copy(file, at: start + section.stride, section.stride)
        if first.isBlank, second.isBlank { return .never }
        let (newer, older) =
            first.generation > second.generation ? (first, second) : (second, first)
        if newer.isComplete(file) { return .fields(newer.fields(file)) }
        if older.isComplete(file) { return .fields(older.fields(file)) }
        // If the first write was interrupted, the other copy is blank: the record was never created.
        return first.isBlank || second.isBlank ? .never : .damaged
    }

    /// One copy of a record; only its generation and checksum have been read.
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

        func isComplete(_ file: [UInt8]) -> Bool {
            generation > 0 && checksum == UInt64(Checksum.crc32(file[start..<end - 8]))
        }

        func fields(_ file: [UInt8]) -> RecordReader {
            RecordReader(file[start + 8..<end - 8])
        }
    }
}

/// Reads the fields of a record; beyond its end they are zero or empty, since later minor versions may append fields.
struct RecordReader {
    private let bytes: ArraySlice<UInt8>
    private var position: Int

    init(_ bytes: ArraySlice<UInt8>) {
        self.bytes = bytes
        position = bytes.startIndex
    }

    mutating func integer<T: FixedWidthInteger & BitwiseCopyable>(_: T.Type = T.self) -> T {
        let end = position + T.bitWidth / 8
        guard end <= bytes.endIndex else {
            position = bytes.endIndex
            return 0
        }
        let offset = position - bytes.startIndex
        position = end
        return unsafe bytes.withUnsafeBytes {
            T(littleEndian: unsafe $0.loadUnaligned(fromByteOffset: offset, as: T.self))
        }
    }

    mutating func raw(width: Int) -> ArraySlice<UInt8> {
        let end = min(position + width, bytes.endIndex)
        defer { position = end }
        return bytes[position..<end]
    }

    /// UTF-8 up to the first zero; invalid UTF-8 becomes U+FFFD.
    mutating func text(width: Int) -> String {
        let field = raw(width: width)
        let end = field.firstIndex(of: 0) ?? field.endIndex
        return String(decoding: field[..<end], as: UTF8.self)
    }

    /// Reads `count` strings; `nil` if they do not fit.
    mutating func texts(_ count: Int, width: Int) -> [String]? {
        var rest = raw(width: width)
        var values: [String] = []
        for _ in 0..<count {
            guard let length = rest.popFirst(), rest.count >= Int(length) else { return nil }
            values.append(String(decoding: rest.prefix(Int(length)), as: UTF8.self))
            rest = rest.dropFirst(Int(length))
        }
        return values
    }
}

extension [UInt8] {
    /// The little-endian word at a byte offset; traps if it is out of range.
    func word(at offset: Int) -> UInt64 {
        precondition(offset >= 0 && offset <= count - 8)
        return unsafe withUnsafeBytes {
            UInt64(littleEndian: unsafe $0.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
        }
    }
}

/// Writes the fields of a record one after the other, little-endian.
struct RecordWriter {
    private(set) var bytes: [UInt8] = []

    mutating func integer<T: FixedWidthInteger>(_ value: T) {
        unsafe withUnsafeBytes(of: value.littleEndian) { unsafe bytes.append(contentsOf: $0) }
    }

    mutating func raw(_ value: [UInt8], width: Int) {
        bytes += value.count > width ? Array(value.prefix(width)) : value
        if value.count < width { bytes += [UInt8](repeating: 0, count: width - value.count) }
    }

    /// UTF-8, padded with zeros; longer text is truncated between characters.
    mutating func text(_ value: String, width: Int) {
        raw(Array(value.fitting(width).utf8), width: width)
    }

    /// Strings, each preceded by a byte with its length.
    mutating func texts(_ values: [String], width: Int) {
        raw(values.flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) }, width: width)
    }
}

extension String {
    /// The longest prefix of complete characters that has at most `width` bytes of UTF-8.
    func fitting(_ width: Int) -> String {
        var (kept, size) = (self[...], utf8.count)
        while size > width, let last = kept.popLast() { size -= last.utf8.count }
        return String(kept)
    }
}

/// CRC-32 as in zlib, PNG and Ethernet (polynomial 0xEDB88320, reflected), which every language has.
enum Checksum {
    static func crc32(_ bytes: ArraySlice<UInt8>) -> UInt32 {
        unsafe bytes.withUnsafeBytes { bytes in
            var crc = UInt32.max
            var offset = 0
            while offset + 8 <= bytes.count {
                let word = unsafe bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                crc = next(UInt64(littleEndian: word) ^ UInt64(crc))
                offset += 8
            }
            while offset < bytes.count {
                let byte = unsafe bytes[offset] ^ UInt8(truncatingIfNeeded: crc)
                crc = crc >> 8 ^ tables[Int(byte)]
                offset += 1
            }
            return ~crc
        }
    }

    /// Processes eight bytes at once, each with its own table.
    private static func next(_ word: UInt64) -> UInt32 {
        var (crc, rest, table) = (UInt32(0), word, 7 * 256)
        while table >= 0 {
            crc ^= tables[table + Int(rest & 0xFF)]
            (rest, table) = (rest >> 8, table - 256)
        }
        return crc
    }

    /// Table `n` has the effect of a byte on the checksum when `n` bytes follow it.
    private static let tables: [UInt32] = {
        var tables: [UInt32] = (0..<256).map { byte in
            (0..<8).reduce(UInt32(byte)) { crc, _ in
                crc & 1 == 1 ? crc >> 1 ^ 0xEDB8_8320 : crc >> 1
            }
        }
        for index in 256..<2048 {
            let before = tables[index - 256]
            tables.append(before >> 8 ^ tables[Int(before & 0xFF)])
        }
        return tables
    }()
}
