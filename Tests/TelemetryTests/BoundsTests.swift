import Foundation
import Glibc
import Posix
import Testing

@testable import StreamVaultTelemetry

@Suite("Bounds")
struct BoundsTests {
    /// A header with this number of slots of one part, for the largest file.
    private static func header(_ part: SegmentLayout.Part, count: Int) -> [UInt8] {
        var sections = SegmentLayout(.small).sections
        sections[part.rawValue].count = count
        var end = SegmentLayout.headerSize
        for index in sections.indices {
            sections[index].offset = end
            end += sections[index].byteCount
        }
        var writer = RecordWriter()
        let identity = RunIdentity(starting: "test", "1", heartbeatInterval: .seconds(1))
        let small = SegmentLayout(.small)
        let header = SegmentHeader(identity: identity, layout: small, historyCount: 0)
        writer.raw(Array(header.bytes[..<16]), width: 16)
        writer.integer(UInt64(max(end, 1 << 20)))
        writer.raw(Array(header.bytes[24..<216]), width: 192)
        for section in sections {
            writer.integer(UInt64(section.offset))
            writer.integer(UInt32(section.stride))
            writer.integer(UInt32(section.count))
            writer.integer(UInt64(section.copies))
        }
        writer.raw([], width: 504 - writer.bytes.count)
        writer.integer(UInt64(Checksum.crc32(writer.bytes[...])))
        return writer.bytes
    }

    @Test(
        "a segment with more slots than any publisher creates is refused before memory is allocated",
        arguments: [
            (SegmentLayout.Part.words, 524_288), (.families, 1024), (.series, 16_384),
            (.recordings, 1024), (.history, 256),
        ]
    )
    func slots(part: SegmentLayout.Part, limit: Int) throws {
        #expect(throws: Never.self) { try SegmentHeader(Self.header(part, count: limit)) }
        #expect(throws: SegmentError.tooLarge) {
            try SegmentHeader(Self.header(part, count: limit + 1))
        }
    }

    @Test("the largest capacity makes a segment that a reader accepts")
    func largest() throws {
        var capacity = SegmentCapacity()
        (capacity.families, capacity.series) = (.max, .max)
        (capacity.words, capacity.recordings) = (.max, .max)
        let layout = SegmentLayout(capacity)
        #expect(layout[.words].count == 524_288)
        let identity = RunIdentity(starting: "test", "1", heartbeatInterval: .seconds(1))
        let header = SegmentHeader(identity: identity, layout: layout, historyCount: 0)
        #expect(try SegmentHeader(header.bytes) == header)
    }

    @Test("series that share words are refused: a small file would make a long page")
    func sharedWords() throws {
        let segment = PaperSegment()
        let family = MetricFamily(
            name: "test_seconds",
            help: "Test.",
            kind: .histogram,
            labels: ["n"],
            bounds: (1...32).map { UInt64($0) }
        )
        let declared = segment.state.metrics.word(of: family, ["0"])
        let word = try #require(declared)
        let first = segment.bytes
        #expect(throws: Never.self) { try Snapshot(of: first) }
        let writer = segment.state.writer
        for slot in 60..<119 {
            let series = SeriesRecord(
                family: segment.state.metrics.declare(family) ?? 0,
                word: word,
                created: .now(),
                values: ["\(slot)"]
            )
            writer.write(.series, slot: slot, series.fields)
        }
        #expect(throws: SegmentError.damaged(.series)) { try Snapshot(of: segment.bytes) }
    }

    @Test("the sum of a histogram saturates")
    func saturation() throws {
        let directory = try TemporaryDirectory()
        let publisher = try directory.startUnwatched()
        let histogram = publisher.histogram("test_seconds", "Test.", bounds: [.seconds(1)])
        var sole = publisher.singleWriterHistogram(
            "test_alone_seconds",
            "Test.",
            bounds: [.seconds(1)]
        )
        for _ in 0..<3 {
            histogram.observe(UInt64.max - 1)
            sole.observe(UInt64.max - 1)
        }
        let snapshot = try directory.snapshot()
        for name in ["test_seconds", "test_alone_seconds"] {
            #expect(snapshot.cells(name).first == .max)
            #expect(snapshot.buckets(name) == [0, 3])
        }
    }

    @Test("label values are compared byte by byte")
    func normalization() throws {
        let directory = try TemporaryDirectory()
        let publisher = try directory.startUnwatched()
        let (composed, decomposed) = ("caf\u{E9}", "cafe\u{301}")
        publisher.counter("test_total", "Test.", labels: ["n": composed]).add(1)
        publisher.counter("test_total", "Test.", labels: ["n": decomposed]).add(2)
        for (id, stream) in [composed, decomposed].enumerated() {
            _ = publisher.startRecording(
                id: UInt64(id),
                stream: stream,
                path: "/\(id)",
                container: "ts"
            )
        }
        let snapshot = try directory.snapshot()
        let family = snapshot.contents.families.firstIndex { $0.name == "test_total" }
        let values = snapshot.contents.series.filter { $0.family == family }
            .map { (Array($0.values[0].utf8), snapshot.words[$0.word]) }
        #expect(values.map(\.0) == [Array(composed.utf8), Array(decomposed.utf8)])
        #expect(values.map(\.1) == [1, 2])
        #expect(snapshot.contents.shown.count == 2)
        do { withExtendedLifetime(publisher) {} }
    }

    @Test("numbers that another process writes into the file do not crash the publisher")
    func foreignNumbers() throws {
        let directory = try TemporaryDirectory()
        let publisher = try directory.startUnwatched()
        let counter = publisher.counter("test_total", "Test.")
        let file = try FileDescriptor(opening: directory.segmentPath(), O_RDWR)
        let bytes = [UInt8](repeating: 0xFF, count: try directory.bytes().count)
        #expect(bytes.withUnsafeBytes { pwrite(file.rawValue, $0.baseAddress, $0.count, 0) } > 0)
        counter.add()
        publisher.enter(.recording)
        publisher.retire("test_total")
        publisher.startRecording(id: 1, stream: "a", path: "/a", container: "ts").end(.completed)
        #expect(publisher.check()?.published == .truncated)
        #expect(try directory.snapshot().value("recordings_finished_total", "completed") == 1)
    }
}
