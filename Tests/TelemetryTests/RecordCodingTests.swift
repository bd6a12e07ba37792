import Testing

@testable import StreamVaultTelemetry

@Suite("Records as bytes")
struct RecordCodingTests {
    enum Copy: Sendable {
        case blank, torn
        case complete(UInt64)

        /// Fields that contain the generation.
        var bytes: [UInt8] {
            switch self {
            case .blank: return [UInt8](repeating: 0, count: 32)
            case .torn:
                var bytes = Copy.complete(9).bytes
                bytes[12] ^= 1
                return bytes
            case .complete(let generation):
                let fields = [UInt8(generation)] + [UInt8](repeating: 7, count: 15)
                return RecordCoding.encode(generation: generation, fields: fields, stride: 32)
            }
        }
    }

    struct Case: Sendable {
        let first: Copy
        let second: Copy
        /// The generation that is read; 0 for never, `nil` for damaged.
        let expected: UInt8?
    }

    @Test(
        "the newest valid copy is read; a torn copy and a blank one are no record",
        arguments: [
            Case(first: .blank, second: .blank, expected: 0),
            Case(first: .blank, second: .complete(1), expected: 1),
            Case(first: .complete(2), second: .complete(1), expected: 2),
            Case(first: .complete(2), second: .complete(3), expected: 3),
            Case(first: .torn, second: .complete(1), expected: 1),
            Case(first: .complete(2), second: .torn, expected: 2),
            Case(first: .blank, second: .torn, expected: 0),
            Case(first: .torn, second: .blank, expected: 0),
            Case(first: .torn, second: .torn, expected: nil),
        ]
    )
    func copies(_ one: Case) {
        let section = SegmentLayout.Section(offset: 0, stride: 32, count: 1, copies: 2)
        let slot = RecordCoding.decode(one.first.bytes + one.second.bytes, section, slot: 0)
        switch slot {
        case .never: #expect(one.expected == 0)
        case .damaged: #expect(one.expected == nil)
        case .fields(var reader): #expect(reader.integer(UInt8.self) == one.expected)
        }
    }

    @Test("a record with a single torn copy is damaged")
    func single() {
        let section = SegmentLayout.Section(offset: 0, stride: 32, count: 1, copies: 1)
        guard case .damaged = RecordCoding.decode(Copy.torn.bytes, section, slot: 0) else {
            Issue.record("a torn copy was accepted")
            return
        }
    }

    @Test(
        "the checksum is zlib's",
        arguments: [("123456789", 0xCBF4_3926), ("", 0), ("a", 0xE8B7_BE43)]
    )
    func checksum(text: String, expected: UInt32) {
        #expect(Checksum.crc32(Array(text.utf8)[...]) == expected)
    }

    @Test(
        "text is truncated between characters",
        arguments: [("häß", 3, "hä"), ("häß", 2, "h"), ("👨‍👩‍👧a", 4, "")]
    )
    func cutText(text: String, width: Int, expected: String) {
        #expect(text.fitting(width) == expected)
    }
}
