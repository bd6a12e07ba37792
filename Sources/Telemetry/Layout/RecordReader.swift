/// Reads the fields of a record; past its end every field is zero or empty, as a later minor version may append fields.
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

    /// UTF-8 up to the first zero; what is not UTF-8 becomes U+FFFD.
    mutating func text(width: Int) -> String {
        let field = raw(width: width)
        let end = field.firstIndex(of: 0) ?? field.endIndex
        return String(decoding: field[..<end], as: UTF8.self)
    }

    /// As many strings as `count` says; `nil` when they do not fit.
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
    /// The little-endian word at a byte offset; one out of range is a bug and traps.
    func word(at offset: Int) -> UInt64 {
        precondition(offset >= 0 && offset <= count - 8)
        return unsafe withUnsafeBytes {
            UInt64(littleEndian: unsafe $0.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
        }
    }
}
