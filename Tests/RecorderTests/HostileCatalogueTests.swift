import Posix
import Testing

@testable import Catalogue
@testable import Media
@testable import Recorder

/// Numbers that repeat: SeededGenerator64.
private struct SeededNumbers: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

@Suite("A catalogue that a stranger wrote", .timeLimit(.minutes(5)))
struct HostileCatalogueTests {
    private static let integers: [Int64] = [
        .min, .min + 1, -1, 0, 1, 2, 999, 1000, 1 << 53, 1 << 62, .max - 1, .max,
    ]
    private static let texts = [
        "", "/", "..", ".ts", "a\0b", "/r/a.ts", "/r/a.ts.part", "/r/a.mp4",
        "cam-20261123T104500Z.ts", "cam-00000101T000000Z_part999999-9999.ts",
        "1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2147483647-25-25T25:25:25Z",
        "-9223372036854775808-01-01T00:00:00Z", String(repeating: "x", count: 5000),
    ]

    @Test("no row ends the process, whatever it holds", arguments: 0..<8)
    func rows(_ seed: UInt64) throws {
        var numbers = SeededNumbers(state: seed)
        for _ in 0..<20 {
            let catalogue = try Catalogue(path: Catalogue.inMemory)
            try fill(catalogue, &numbers)
            try use(catalogue)
        }
    }

    private func fill(_ catalogue: Catalogue, _ numbers: inout SeededNumbers) throws {
        func integer() -> SQLiteValue {
            .integer(Self.integers.randomElement(using: &numbers) ?? 0)
        }
        func text() -> SQLiteValue { .text(Self.texts.randomElement(using: &numbers) ?? "") }
        func optional(_ value: SQLiteValue) -> SQLiteValue {
            Bool.random(using: &numbers) ? value : .null
        }
        func one<Value: CaseIterable & RawRepresentable<String>>(_ type: Value.Type) -> SQLiteValue
        {
            .text(Array(type.allCases).randomElement(using: &numbers)?.rawValue ?? "")
        }
        var rows: [(String, [SQLiteValue])] = []
        for _ in 0..<6 {
            let id = integer()
            let boot = optional(.text("a"))
            rows.append(
                (
                    "INSERT OR REPLACE INTO recordings VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    [
                        id, text(), optional(text()), one(CatalogueRecording.Status.self), text(),
                        optional(text()), optional(text()), boot, optional(integer()),
                    ]
                )
            )
            for _ in 0..<3 {
                let number = integer()
                rows.append(
                    (
                        "INSERT OR REPLACE INTO parts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                        [
                            id, number, text(), text(), one(CataloguePart.Status.self), text(),
                            optional(text()), integer(), optional(text()), optional(text()),
                            optional(integer()), .null, .null,
                        ]
                    )
                )
                rows.append(
                    (
                        "INSERT OR REPLACE INTO jobs VALUES (?, ?, ?, ?, ?, ?)",
                        [id, number, one(RemuxJob.Status.self), integer(), integer(), .null]
                    )
                )
            }
        }
        for (statement, values) in rows {
            _ = try? catalogue.transaction { (database) throws(CatalogueError) in
                try database.run("PRAGMA foreign_keys = OFF")
                return try database.run(statement, values)
            }
        }
    }

    /// Whatever a recorder does with a catalogue; errors are answers.
    private func use(_ catalogue: Catalogue) throws {
        let now = UTCTime(filesStart)
        let recordings = try catalogue.all()
        for recording in recordings + (try catalogue.stored()) + (try catalogue.active()) {
            #expect(recording.bytes == recording.bytes && recording.storedBytes <= .max)
        }
        let rules = RetentionRules(maxAge: .seconds(1), maxCount: 1, maxBytes: 1)
        let ages = RecordingAges(of: recordings, at: now, BootStamp(boot: "a", time: .now()))
        _ = RetentionPlan(overall: rules, byStream: ["": rules]).expired(
            of: recordings,
            aged: ages,
            resumeWindow: .seconds(600)
        )
        let resumableRecordings = ResumableRecordings(within: .seconds(600))
        for one in try catalogue.resumableRecordings() { resumableRecordings.add(one) }
        for text in Self.texts {
            _ = resumableRecordings.find(text, at: now, lastingLessThan: .seconds(60))
        }
        try? catalogue.requeueJobs()
        for outcome in [
            RemuxOutcome.cancelled, .failed(""), .sourceDeleted,
            .produced(StoredFile(path: "", bytes: .min), deletesSource: true),
        ] {
            for time in [now, UTCTime(seconds: .max)] {
                guard let job = try? catalogue.takeJob(at: time) else { continue }
                _ = try? catalogue.end(job, outcome, at: now)
            }
        }
        for text in Self.texts {
            guard let name = RecordingName(finalName: text, in: "/r") else { continue }
            let found = UnlistedRecording(name: name, bytes: .max, lastWrittenAt: now)
            try? catalogue.add(found)
        }
        _ = try? catalogue.recoverUnfinished([], in: "/nowhere", at: now)
        let journal = try CatalogueJournal(catalogue, Log())
        #expect(journal.newRecordingID() > 0)
        try? journal.close(until: BootTime.now().advanced(by: .seconds(30)))
    }

    @Test("a name says what was put into it, and no other does", arguments: 0..<4)
    func names(_ seed: UInt64) {
        var numbers = SeededNumbers(state: seed)
        let pieces = [
            "cam", "-", "_part", "001", "999999", "20261123T104500Z", "99999999T999999Z", "é",
            ".ts", ".mp4", ".part", "", "0",
        ]
        for _ in 0..<5000 {
            let count = Int.random(in: 0...6, using: &numbers)
            let text = (0..<count).map { _ in pieces.randomElement(using: &numbers) ?? "" }.joined()
            let part = RecordingName(partName: text, in: "/r")
            #expect(part.map { $0.partPath == "/r/\(text)" } ?? true)
            guard let name = RecordingName(finalName: text, in: "/r"), let facts = name.parts else {
                continue
            }
            #expect(name.finalPath == "/r/\(text)")
            let again = RecordingName(
                directory: "/r",
                stream: facts.stream,
                startedAt: facts.startedAt,
                part: facts.part,
                container: name.container
            )
            #expect(again.parts.map { $0 == facts } ?? false, "\(text)")
        }
    }

    @Test("lines that ffprobe never wrote are no traps", arguments: 0..<4)
    func facts(_ seed: UInt64) {
        var numbers = SeededNumbers(state: seed)
        let pieces = [
            "packet", "stream", "|", "index=", "stream_index=", "flags=K_", "codec_type=video",
            "-1", "7", "9223372036854775808", "=", "é", "\0",
        ]
        var facts = MediaProbe()
        for _ in 0..<20_000 {
            let count = Int.random(in: 0...6, using: &numbers)
            facts.parse(
                (0..<count).map { _ in pieces.randomElement(using: &numbers) ?? "" }.joined()
            )
        }
        #expect(facts.streams.count <= MediaProbe.maxStreams)
        _ = (facts.tracks, facts.loss(in: facts))
    }
}
