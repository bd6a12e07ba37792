/// Lays out the fields of a record, little-endian, one after the other.
struct RecordWriter {
    private(set) var bytes: [UInt8] = []

    mutating func integer<T: FixedWidthInteger>(_ value: T) {
        unsafe withUnsafeBytes(of: value.littleEndian) { unsafe bytes.append(contentsOf: $0) }
    }

    mutating func raw(_ value: [UInt8], width: Int) {
        bytes += value.count > width ? Array(value.prefix(width)) : value
        if value.count < width { bytes += [UInt8](repeating: 0, count: width - value.count) }
    }

    /// UTF-8, padded with zeros; text that is too long is cut between characters.
    mutating func text(_ value: String, width: Int) {
        raw(Array(value.fitting(width).utf8), width: width)
    }

    /// Strings behind each other, each after a byte with its length.
    mutating func texts(_ values: [String], width: Int) {
        raw(values.flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) }, width: width)
    }
}

extension String {
    /// The longest prefix of whole characters that takes at most `width` bytes of UTF-8.
    func fitting(_ width: Int) -> String {
        var (kept, size) = (self[...], utf8.count)
        while size > width, let last = kept.popLast() { size -= last.utf8.count }
        return String(kept)
    }
}
