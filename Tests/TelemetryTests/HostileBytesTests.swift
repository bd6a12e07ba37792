import Posix
import TestSupport
import Testing

@testable import StreamVaultTelemetry

@Suite("Any bytes result in a snapshot or an error", .timeLimit(.minutes(10)))
struct HostileBytesTests {
    /// A segment in which everything is used: history, labels, a histogram, open recordings, a shutdown.
    static let real: [UInt8] = {
        let segment = PaperSegment()
        for index in 0..<5 {
            segment.state.writer.write(.history, slot: index, pastRun(index).fields)
        }
        let gauge = MetricFamily(
            name: "test",
            help: "Test.",
            kind: .gauge,
            encoding: .double,
            labels: ["a", "b"]
        )
        segment.state.cell(gauge, ["x", "ä€\n"]).store(Double.nan.bitPattern)
        let histogram = MetricFamily(
            name: "test_h",
            help: "Test.",
            kind: .histogram,
            bounds: [1, 5],
            exponential: ExponentialBuckets(schema: 1, lowest: 0, highest: 3)
        )
        segment.state.cell(histogram, []).following(1).add(3)
        for id in 0..<3 {
            let recording = OpenRecording(
                id: UInt64(id),
                stream: "stream-\(id)",
                path: "/recordings/\(id).ts",
                container: "ts",
                state: .recording,
                startedBoot: PaperSegment.stamp(Double(id)),
                startedWall: PaperSegment.startedWall
            )
            _ = segment.state.open(recording)
        }
        segment.state.close(1, .failed)
        segment.state.change { DerivedMetricsTests.stopInSecondPhase(&$0) }
        segment.beat(at: 12)
        // The header has the number of entries in the history.
        var bytes = segment.bytes
        seal(&bytes, 0..<512) { $0[80] = 5 }
        return bytes
    }()

    static func pastRun(_ index: Int) -> PastRun {
        var lifecycle = Lifecycle()
        lifecycle.phases = [PhaseRecord(name: "recordings", budget: 1)]
        DerivedMetricsTests.cases[0].lifecycle(&lifecycle)
        let identity = RunIdentity(
            name: "paper",
            version: "1",
            runID: [UInt8](repeating: UInt8(index), count: 16),
            bootID: PaperSegment.bootID,
            startedBoot: PaperSegment.startedBoot,
            startedWall: PaperSegment.startedWall,
            heartbeatInterval: 1
        )
        let end = RunOutcome.allCases[index % 4]
        return PastRun(identity, lifecycle, end: end, lastSeen: .init(nanoseconds: 1), abandoned: 1)
    }

    /// Changes a header or a record, and gives it a valid checksum.
    static func seal(_ bytes: inout [UInt8], _ range: Range<Int>, _ body: (inout [UInt8]) -> Void) {
        var record = Array(bytes[range])
        body(&record)
        var checksum = RecordWriter()
        checksum.integer(UInt64(Checksum.crc32(record.dropLast(8))))
        record.replaceSubrange((record.count - 8)..., with: checksum.bytes)
        bytes.replaceSubrange(range, with: record)
    }

    /// Reads everything in a snapshot; `false` for an error.
    @discardableResult
    private func survives(_ bytes: [UInt8], isOwned: Bool = false) -> Bool {
        do throws(SegmentError) {
            let snapshot = try Snapshot(of: bytes, isOwned: isOwned, now: .init(nanoseconds: .max))
            for series in snapshot.contents.series {
                let family = snapshot.contents.families[series.family]
                _ = snapshot.words[series.word..<series.word + family.wordsPerSeries]
                precondition(family.labels.count == series.values.count && family.isValid)
            }
            for run in snapshot.history {
                _ = (run.shutdownDuration, run.graceUsed, run.fatalPhase, run.wall(run.lastSeen))
            }
            return true
        } catch {
            return false
        }
    }

    @Test("a valid segment results in a snapshot")
    func whole() throws {
        let snapshot = try Snapshot(of: Self.real)
        #expect(snapshot.verdict == .ended(.killed))
        #expect(snapshot.history.count == 6)
        #expect(snapshot.contents.recordings.count == 2)
    }

    @Test("every truncation is refused")
    func truncations() {
        for length in Effort.offsets(Self.real.count, each: 211) {
            #expect(!survives(Array(Self.real.prefix(length))), "\(length) bytes")
        }
    }

    @Test("every corruption of a single byte", arguments: [0, 1])
    func corruptions(kind: Int) {
        var bytes = Self.real
        var random = SeededGenerator(state: 1)
        var (snapshots, reasons) = (0, 0)
        for offset in Effort.offsets(bytes.count, each: 307) {
            let mask: UInt8 = kind == 0 ? 0xFF : 1 << UInt8.random(in: 0..<8, using: &random)
            bytes[offset] ^= mask
            let survived = survives(bytes)
            (snapshots, reasons) = (snapshots + (survived ? 1 : 0), reasons + (survived ? 0 : 1))
            #expect(!survived || offset >= 512, "a damaged header was accepted: byte \(offset)")
            bytes[offset] ^= mask
        }
        print("single bytes, kind \(kind): \(snapshots) snapshots, \(reasons) reasons")
    }

    @Test(
        "random fields with valid checksums",
        arguments: [nil] + SegmentLayout.Part.allCases.dropFirst().map(Optional.some)
    )
    func sealed(part: SegmentLayout.Part?) throws {
        let layout = try SegmentHeader(Self.real).layout
        var random = SeededGenerator(state: 2)
        var (snapshots, reasons) = (0, 0)
        for _ in 0..<(Effort.isExhaustive ? 50_000 : 150) {
            var bytes = Self.real
            let range =
                if let part {
                    Self.anyRecord(layout[part], used: 8, &random)
                } else { 0..<512 }
            let body = part == nil ? 12..<504 : 0..<range.count - 8
            Self.seal(&bytes, range) { record in
                record[0] |= part == nil ? 0 : 1  // Generation 0 would be no record.
                for _ in 0..<Int.random(in: 1...4, using: &random) {
                    let value = [0, 1, 0x7F, 0x80, 0xFF, UInt8.random(in: 0...255, using: &random)]
                    record[Int.random(in: body, using: &random)] =
                        value.randomElement(using: &random) ?? 0
                }
            }
            let survived = survives(bytes, isOwned: Bool.random(using: &random))
            (snapshots, reasons) = (snapshots + (survived ? 1 : 0), reasons + (survived ? 0 : 1))
        }
        print(
            "sealed \(part.map { "\($0)" } ?? "header"): \(snapshots) snapshots, \(reasons) reasons"
        )
    }

    private static func anyRecord(
        _ section: SegmentLayout.Section,
        used: Int,
        _ random: inout SeededGenerator
    ) -> Range<Int> {
        let slot = Int.random(in: 0..<min(used, section.count), using: &random)
        let copy = Int.random(in: 0..<section.copies, using: &random)
        let start = section.offset(ofSlot: slot, copy: copy)
        return start..<start + section.stride
    }

    @Test(
        "random bytes, also after a valid magic number and a valid header",
        arguments: [0, 12, 512]
    )
    func noise(kept: Int) {
        var random = SeededGenerator(state: 3)
        for _ in 0..<(Effort.isExhaustive ? 2000 : 20) {
            let length =
                kept == 512 ? Self.real.count : Int.random(in: 0...3000, using: &random)
            var bytes = Array(Self.real.prefix(kept).prefix(length))
            while bytes.count < length { bytes.append(UInt8.random(in: 0...255, using: &random)) }
            #expect(!survives(bytes))
        }
    }

    struct Table: Sendable, CustomTestStringConvertible {
        let testDescription: String
        /// Byte offset in the header, and the value that is put there.
        let fields: [(Int, UInt64)]
    }

    @Test(
        "an inconsistent header with a valid checksum is refused",
        arguments: [
            Table(testDescription: "file of 2^64 bytes", fields: [(16, .max)]),
            Table(testDescription: "file of nothing", fields: [(16, 0)]),
            Table(testDescription: "history beyond its slots", fields: [(80, 33)]),
            Table(testDescription: "history of 2^64", fields: [(80, .max)]),
            Table(testDescription: "words at 2^64 - 8", fields: [(216, .max - 7)]),
            Table(testDescription: "words at 2^63", fields: [(216, 1 << 63)]),
            Table(testDescription: "words over the header", fields: [(216, 0)]),
            Table(testDescription: "words not aligned", fields: [(216, 513)]),
            Table(testDescription: "2^32 - 1 words", fields: [(224, 8 | 0xFFFF_FFFF << 32)]),
            Table(testDescription: "no words", fields: [(224, 8)]),
            Table(testDescription: "words of stride 0", fields: [(224, 500 << 32)]),
            Table(testDescription: "words in 2^64 copies", fields: [(232, .max)]),
            Table(testDescription: "lifecycle over the words", fields: [(240, 512)]),
            Table(testDescription: "two lifecycles", fields: [(248, 1104 | 2 << 32)]),
            Table(testDescription: "families of stride 8", fields: [(272, 8 | 48 << 32)]),
            Table(testDescription: "families of no copies", fields: [(280, 0)]),
            Table(testDescription: "series over families", fields: [(288, 8192)]),
            Table(testDescription: "millions of series", fields: [(296, 184 | 4_000_000 << 32)]),
            Table(
                testDescription: "recordings of stride 2^32 - 8",
                fields: [(320, 0xFFFF_FFF8 | 4 << 32)]
            ),
            Table(testDescription: "history behind the end", fields: [(336, 1 << 23)]),
            Table(testDescription: "no name", fields: [(88, 0)]),
            Table(testDescription: "a name that leaves the directory", fields: [(88, 0x2F2E_2E)]),
        ]
    )
    func header(_ table: Table) {
        var bytes = Self.real
        Self.seal(&bytes, 0..<512) { header in
            for (offset, value) in table.fields {
                var field = RecordWriter()
                field.integer(value)
                header.replaceSubrange(offset..<offset + 8, with: field.bytes)
            }
        }
        #expect(!survives(bytes))
    }

    @Test(
        "exponential buckets beyond the limits are refused",
        arguments: [
            [5, 0, 3], [255, 0, 3], [2, 3, 3], [2, 3, 0], [1, 0x80, 0x7F], [4, 0, 33],
            [1, 0, 63], [1, 62, 63],
        ] as [[UInt8]]
    )
    func exponentialBuckets(_ fields: [UInt8]) throws {
        var bytes = Self.real
        let families = try SegmentHeader(bytes).layout[.families]
        let snapshot = try Snapshot(of: bytes)
        let slot = try #require(snapshot.contents.families.firstIndex { $0.name == "test_h" })
        for copy in 0...1 {
            let start = families.offset(ofSlot: slot, copy: copy)
            Self.seal(&bytes, start..<start + families.stride) {
                $0.replaceSubrange(12..<15, with: fields)
            }
        }
        #expect(throws: SegmentError.damaged(.families)) { try Snapshot(of: bytes) }
    }

    @Test("the largest file with the maximum number of records is read in limited time")
    func largest() throws {
        let size = Effort.isExhaustive ? SegmentLayout.maxFileSize : 2 << 20
        let layout = try SegmentHeader(Self.real).layout
        let (series, recordings) = (layout[.series], layout[.recordings])
        // The same series in all slots, each in one copy; what follows is unchanged.
        let record = Self.real[series.offset + series.stride..<series.offset + 2 * series.stride]
        let tail = Self.real[recordings.offset...]
        let count = (size - series.offset - tail.count) / series.stride
        var bytes = Array(Self.real[..<series.offset])
        for _ in 0..<count { bytes += record }
        let moved = bytes.count - recordings.offset
        bytes += tail
        let total = bytes.count
        Self.seal(&bytes, 0..<512) { header in
            var table = RecordWriter()
            table.integer(UInt64(series.offset))
            table.integer(UInt32(series.stride))
            table.integer(UInt32(count))
            table.integer(UInt64(1))
            for part in [SegmentLayout.Part.recordings, .history] {
                table.integer(UInt64(layout[part].offset + moved))
                table.integer(UInt32(layout[part].stride))
                table.integer(UInt32(layout[part].count))
                table.integer(UInt64(layout[part].copies))
            }
            header.replaceSubrange(288..<360, with: table.bytes)
            var length = RecordWriter()
            length.integer(UInt64(total))
            header.replaceSubrange(16..<24, with: length.bytes)
        }
        let began = BootTime.now()
        #expect(survives(bytes))
        print("\(bytes.count) bytes, \(count) series: \(BootTime.now().since(began).inSeconds) s")
    }

    @Test(
        "names in the file are read as they were written",
        arguments: [
            (0, "not_a_segment"), (7, "not_a_segment"), (8, "truncated"), (11, "truncated"),
            (12, "truncated"), (511, "truncated"), (512, "truncated"), (5000, "truncated"),
        ]
    )
    func files(length: Int, reason: String) throws {
        let directory = try TemporaryDirectory()
        try directory.write(Array(Self.real.prefix(length)), to: "test.telemetry")
        var reader = SegmentReader(path: directory.segmentPath())
        for _ in 0..<3 {
            do throws(SegmentError) {
                _ = try reader.snapshot()
                Issue.record("accepted")
            } catch {
                #expect(error.reason == reason)
            }
        }
    }

    @Test(
        "a file that is truncated, damaged and restored while it is open is read correctly each time"
    )
    func changingFile() throws {
        let directory = try TemporaryDirectory()
        try directory.write(Self.real, to: "test.telemetry")
        var reader = SegmentReader(path: directory.segmentPath())
        #expect(try reader.snapshot().verdict == .ended(.killed))
        let file = try FileDescriptor(opening: directory.segmentPath(), 1)  // O_WRONLY
        try file.truncate(to: 600)
        #expect(throws: SegmentError.truncated) { try reader.snapshot() }
        try file.truncate(to: 0)
        try file.writeAll(Self.real.span)
        #expect(try reader.snapshot().verdict == .ended(.killed))
        try FileSystem.unlink(directory.segmentPath())
        #expect(throws: SegmentError.missing) { try reader.snapshot() }
        try directory.write(Self.real, to: "test.telemetry")
        #expect(try reader.snapshot().verdict == .ended(.killed))
    }

    @Test("permanently damaged records are read once, not for every snapshot")
    func damagedForGood() throws {
        let directory = try TemporaryDirectory()
        var bytes = Self.real
        let section = try SegmentHeader(bytes).layout[.lifecycle]
        for copy in 0..<2 { bytes[section.offset(ofSlot: 0, copy: copy) + 20] ^= 1 }
        bytes[512] |= 1  // The writer was killed while it wrote a record.
        try directory.write(bytes, to: "test.telemetry")
        var reader = SegmentReader(path: directory.segmentPath())
        #expect(throws: SegmentError.damaged(.lifecycle)) { try reader.snapshot() }
        let began = BootTime.now()
        let rounds = 200
        for _ in 0..<rounds {
            #expect(throws: SegmentError.damaged(.lifecycle)) { try reader.snapshot() }
        }
        let each = BootTime.now().since(began).inSeconds / Double(rounds)
        print("a read that fails: \(each * 1e6) us")
        try directory.write(Self.real, to: "test.telemetry")
        #expect(try reader.snapshot().verdict == .ended(.killed))
    }
}
