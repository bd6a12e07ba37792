/// Writes messages of Protocol Buffers (protobuf.dev, "Encoding"), field by field.
struct ProtobufWriter {
    private(set) var bytes: [UInt8] = []

    /// How a field's content is laid out.
    private enum WireType: UInt64 {
        case varint = 0
        case fixed64 = 1
        case length = 2
    }

    mutating func unsigned(_ value: UInt64, field: Int) {
        tag(field, .varint)
        varint(value)
    }

    /// A `sint32` or `sint64`.
    mutating func signed(_ value: Int64, field: Int) {
        tag(field, .varint)
        zigzag(value)
    }

    mutating func double(_ value: Double, field: Int) {
        tag(field, .fixed64)
        for byte in 0..<8 {
            bytes.append(UInt8(truncatingIfNeeded: value.bitPattern >> (byte * 8)))
        }
    }

    mutating func text(_ value: String, field: Int) {
        tag(field, .length)
        varint(UInt64(value.utf8.count))
        bytes += value.utf8
    }

    /// A packed `repeated sint64`.
    mutating func packed(_ values: [Int64], field: Int) {
        message(field: field) { for value in values { $0.zigzag(value) } }
    }

    mutating func message(field: Int, _ content: (inout ProtobufWriter) -> Void) {
        tag(field, .length)
        delimited(content)
    }

    /// A message without a tag, after its length: as messages follow each other in a stream.
    mutating func delimited(_ content: (inout ProtobufWriter) -> Void) {
        let start = bytes.count
        content(&self)
        let end = bytes.count
        varint(UInt64(end - start))
        // The length is known only now. It belongs before the content.
        let length = Array(bytes[end...])
        bytes.removeSubrange(end...)
        bytes.insert(contentsOf: length, at: start)
    }

    /// Fields that were written before.
    mutating func raw(_ fields: [UInt8]) {
        bytes += fields
    }

    private mutating func tag(_ field: Int, _ type: WireType) {
        varint(UInt64(field) << 3 | type.rawValue)
    }

    /// Small numbers of either sign become small unsigned ones.
    private mutating func zigzag(_ value: Int64) {
        varint(UInt64(bitPattern: value << 1 ^ value >> 63))
    }

    private mutating func varint(_ value: UInt64) {
        var rest = value
        while rest > 0x7F {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }
}
