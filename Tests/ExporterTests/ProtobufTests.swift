import Testing

@testable import Exporter

@Suite("Protobuf's wire format and the runs of a native histogram")
struct ProtobufTests {
    /// Examples of protobuf.dev, "Encoding", and the edges of their numbers.
    @Test(
        "fields as the specification has them",
        arguments: [
            ({ $0.unsigned(150, field: 1) }, [0x08, 0x96, 0x01]),
            ({ $0.text("testing", field: 2) }, [0x12, 0x07] + Array("testing".utf8)),
            ({ $0.message(field: 3) { $0.unsigned(150, field: 1) } }, [0x1A, 3, 0x08, 0x96, 1]),
            ({ $0.packed([0, -1, 1, -2], field: 6) }, [0x32, 4, 0, 1, 2, 3]),
            (
                { $0.signed(.max, field: 1) },
                [0x08, 0xFE] + [UInt8](repeating: 0xFF, count: 8) + [0x01]
            ),
            (
                { $0.signed(.min, field: 1) },
                [0x08] + [UInt8](repeating: 0xFF, count: 9) + [0x01]
            ),
            ({ $0.unsigned(0, field: 16) }, [0x80, 0x01, 0x00]),
            ({ $0.double(-2, field: 1) }, [0x09, 0, 0, 0, 0, 0, 0, 0, 0xC0]),
            ({ $0.delimited { _ in } }, [0]),
        ] as [(@Sendable (inout ProtobufWriter) -> Void, [UInt8])]
    )
    func fields(_ write: @Sendable (inout ProtobufWriter) -> Void, _ expected: [UInt8]) {
        var writer = ProtobufWriter()
        write(&writer)
        #expect(writer.bytes == expected)
    }

    @Test("a length of several bytes stands before its message", arguments: [127, 128, 20_000])
    func longMessage(_ length: Int) {
        var writer = ProtobufWriter()
        writer.delimited { $0.raw([UInt8](repeating: 1, count: length)) }
        let prefix: [UInt8] =
            length < 128
            ? [UInt8(length)]
            : length < 16_384
                ? [UInt8(length & 0x7F | 0x80), UInt8(length >> 7)]
                : [
                    UInt8(length & 0x7F | 0x80), UInt8(length >> 7 & 0x7F | 0x80),
                    UInt8(length >> 14),
                ]
        #expect(writer.bytes == prefix + [UInt8](repeating: 1, count: length))
    }

    @Test(
        "buckets that count are spans, with short gaps filled",
        arguments: [
            ([0, 0, 0], -5, 0, [], []), ([7], 1, 7, [], []), ([], 1, 0, [], []),
            ([7, 2, 3, 3, 0], 1, 7, [[1, 3]], [2, 1, 0]),
            ([0, 0, 0, 5, 1], -8, 0, [[-6, 2]], [5, -4]),
            ([0, 4, 0, 0, 6], 0, 0, [[0, 4]], [4, -4, 0, 6]),
            ([0, 4, 0, 0, 0, 6, 1], 0, 0, [[0, 1], [3, 2]], [4, 2, -5]),
        ] as [([UInt64], Int, UInt64, [[Int]], [Int64])]
    )
    func spans(
        _ counts: [UInt64],
        _ firstIndex: Int,
        _ zeroCount: UInt64,
        _ spans: [[Int]],
        _ deltas: [Int64]
    ) {
        let native = NativeHistogram(counts, firstIndex: firstIndex)
        #expect(native.zeroCount == zeroCount)
        #expect(native.spans.map { [$0.offset, $0.length] } == spans)
        #expect(native.deltas == deltas)
    }
}
