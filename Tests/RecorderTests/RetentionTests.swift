import Foundation
import Glibc
import Posix
import Testing

@testable import Catalogue
@testable import Media
@testable import Recorder

@Suite("Retention", .timeLimit(.minutes(5)))
struct RetentionTests {
    private let directory = FilesDirectory()
    private static let now = UTCTime(filesStart).advanced(by: 100_000)

    /// A recording that ended so many seconds ago, of one part of so many bytes.
    private func recording(
        _ id: Int64,
        ended secondsAgo: Int,
        bytes: Int = 100,
        stream: String = "cam",
        _ status: CatalogueRecording.Status = .completed,
        part: CataloguePart.Status = .finished
    ) -> CatalogueRecording {
        let endedAt = Self.now.advanced(by: -secondsAgo)
        return CatalogueRecording(
            id: id,
            stream: stream,
            title: nil,
            status: status,
            startedAt: UTCTime(filesStart),
            endedAt: status == .recording ? nil : endedAt,
            failureReason: nil,
            parts: [
                CataloguePart(
                    recordingID: id,
                    number: 1,
                    path: "/r/\(id).ts\(part == .finished ? "" : ".part")",
                    container: "ts",
                    status: part,
                    endedAt: endedAt,
                    bytes: bytes
                )
            ]
        )
    }

    private func expired(
        _ rules: RetentionRules,
        _ recordings: [CatalogueRecording],
        byStream: [String: RetentionRules] = [:]
    ) -> [Int64: RetentionReason] {
        let plan = RetentionPlan(overall: rules, byStream: byStream)
        let found = plan.expired(
            of: recordings,
            aged: RecordingAges(of: recordings, at: Self.now, nil),
            resumeWindow: .seconds(600)
        )
        return Dictionary(uniqueKeysWithValues: found.map { ($0.recording.id, $0.reason) })
    }

    @Test("age counts from the end, to the second")
    func age() {
        let recordings = [recording(1, ended: 3601), recording(2, ended: 3600)]
        #expect(expired(RetentionRules(maxAge: .seconds(3600)), recordings) == [1: .age])
    }

    @Test("of too many, the oldest go", arguments: [(1, 3), (2, 2), (3, 1), (4, 0), (9, 0)])
    func count(_ most: Int, _ gone: Int) {
        let recordings = (1...4).map { recording($0, ended: 1000 - Int($0)) }
        let found = expired(RetentionRules(maxCount: most), recordings)
        #expect(Set(found.keys) == Set((1...4).prefix(gone).map(Int64.init)))
        #expect(found.values.allSatisfy { $0 == .count })
    }

    @Test(
        "of too much, the oldest go, but never the newest",
        arguments: [(1000, 0), (250, 2), (99, 3)]
    )
    func size(_ most: UInt64, _ gone: Int) {
        let recordings = (1...4).map { recording($0, ended: 1000 - Int($0)) }
        let found = expired(RetentionRules(maxBytes: most), recordings)
        #expect(Set(found.keys) == Set((1...4).prefix(gone).map(Int64.init)))
    }

    @Test(
        "what is open, may go on, or waits for recovery stays, and counts all the same",
        arguments: [
            (.recording, .recording, 0), (.abandoned, .recording, 9000), (.failed, .failed, 9000),
            (.interrupted, .finished, 599), (.failed, .finished, 599),
        ] as [(CatalogueRecording.Status, CataloguePart.Status, Int)]
    )
    func spared(
        _ status: CatalogueRecording.Status,
        _ part: CataloguePart.Status,
        _ secondsAgo: Int
    ) {
        let one = recording(2, ended: secondsAgo, status, part: part)
        let rules = RetentionRules(maxAge: .seconds(1), maxCount: 1, maxBytes: 1)
        #expect(expired(rules, [recording(1, ended: 9000), one]) == [1: .age])
    }

    @Test("a recording that was cut short longer ago than it may go on is removed as any other")
    func cutShort() {
        let rules = RetentionRules(maxAge: .seconds(1))
        #expect(expired(rules, [recording(1, ended: 601, .interrupted)]) == [1: .age])
    }

    @Test("a stream's own rules come first, and what they remove is not counted by the others")
    func byStream() {
        let recordings =
            (1...3).map { recording($0, ended: 1000 - Int($0)) }
            + (4...5).map { recording($0, ended: 1000 - Int($0), stream: "b") }
        let found = expired(
            RetentionRules(maxCount: 3),
            recordings,
            byStream: ["cam": RetentionRules(maxCount: 1)]
        )
        #expect(Set(found.keys) == [1, 2])
    }

    @Test("a file is removed only as it was finished, and by nobody else's leave")
    func storedFile() throws {
        let path = try directory.write(filesPackets(0..<2), to: "a-\(filesTime).ts")
        let file = StoredFile(path: path, bytes: 376)
        #expect(throws: StoredFile.RemovalError.changed(bytes: 376)) {
            try StoredFile(path: path, bytes: 188).remove()
        }
        let holder = try FilesHolder(["flock", path, "sh", "-c", "echo ready; cat"])
        #expect(throws: StoredFile.RemovalError.locked) { try file.remove() }
        try holder.release()
        #expect(try directory.entries == ["a-\(filesTime).ts"])
        symlink(path, "\(directory.path)/b-\(filesTime).ts")
        #expect(throws: StoredFile.RemovalError.self) {
            try StoredFile(path: "\(directory.path)/b-\(filesTime).ts", bytes: 376).remove()
        }
        try file.remove()
        #expect(try directory.entries == ["b-\(filesTime).ts"])
        try file.remove()
    }

    @Test(
        "a row that names a file of another program removes nothing",
        arguments: ["holiday.ts", "cam-20261123T104500Z.ts.part", "cam.mp4", "catalogue.sqlite"]
    )
    func foreignFile(_ name: String) throws {
        let path = try directory.write(filesPackets(0..<2), to: name)
        #expect(throws: StoredFile.RemovalError.foreign) {
            try StoredFile(path: path, bytes: 376).remove()
        }
        #expect(try directory.entries == [name])
    }

    /// A catalogue with finished recordings of these files, each of one packet; and the sweeps that are to remove them.
    private func sweeping(_ names: [String], product: String? = nil) throws -> APIBench {
        let bench = try APIBench([.silence("cam")])
        for name in names {
            let path = try bench.files.write(filesPackets(0..<1), to: name)
            let id = try bench.context.catalogue.start(catalogueEntry(path + ".part"))
            try bench.context.catalogue.end(id, .completed, path: path, bytes: 188)
        }
        if let product {
            let path = try bench.files.write(filesPackets(0..<2), to: product)
            _ = try bench.context.catalogue.transaction { (database) throws(CatalogueError) in
                try database.run(
                    "UPDATE parts SET product_path = ?, product_bytes = 376",
                    [.text(path)]
                )
            }
        }
        return bench
    }

    private func sweep(_ bench: APIBench, until stop: StopSignal) {
        let plan = RetentionPlan(overall: RetentionRules(maxAge: .seconds(1)))
        let sweep = RetentionSweep(context: bench.context, plan: plan, pause: .milliseconds(10))
        let thread = Thread { sweep.run(until: stop) }
        thread.start()
    }

    @Test("a file is removed, logged and counted once, also while the catalogue cannot be written")
    func lockedCatalogue() throws {
        let bench = try sweeping(["a-\(filesTime).ts", "b-\(filesTime).ts"])
        let stop = try StopSignal()
        defer { stop.request() }
        let reader = try FilesHolder([
            "flock", "\(bench.files.path)/b-\(filesTime).ts", "sh", "-c", "echo ready; cat",
        ])
        let script = """
            import sqlite3, sys
            database = sqlite3.connect(sys.argv[1], isolation_level=None)
            database.execute("BEGIN IMMEDIATE")
            print("ready", flush=True)
            sys.stdin.read()
            """
        let writer = try FilesHolder([
            "python3", "-c", script, "\(bench.files.path)/catalogue.sqlite",
        ])
        sweep(bench, until: stop)
        try waitFor("the first file") {
            try bench.word("streamvault_deleted_files_total", ["age"]) == 1
        }
        try waitFor("an objection") { try bench.logged().contains("Recording not deleted") }
        try reader.release()
        // A later sweep removes this one: the first file has been met again.
        try waitFor("the second file") {
            try bench.word("streamvault_deleted_files_total", ["age"]) ?? 0 >= 2
        }
        #expect(try bench.word("streamvault_deleted_files_total", ["age"]) == 2)
        #expect(try bench.logged().matches(of: /msg="Recording deleted"/).count == 2)
        #expect(try bench.logged().matches(of: /msg="Recording not deleted"/).count == 1)
        try writer.release()
        try waitFor("the catalogue") { try bench.context.catalogue.stored().isEmpty }
        #expect(try bench.word("streamvault_deleted_files_total", ["age"]) == 2)
    }

    @Test("a file and what it was converted to are two files, each with its bytes")
    func product() throws {
        let bench = try sweeping(["a-\(filesTime).ts"], product: "a-\(filesTime).mp4")
        let stop = try StopSignal()
        defer { stop.request() }
        sweep(bench, until: stop)
        try waitFor("the catalogue") { try bench.context.catalogue.stored().isEmpty }
        #expect(try bench.word("streamvault_deleted_files_total", ["age"]) == 2)
        let log = try bench.logged()
        #expect(
            log.contains("/a-\(filesTime).ts bytes=188")
                && log.contains("/a-\(filesTime).mp4 bytes=376"),
            "\(log)"
        )
    }

    @Test("a file that was gone already is neither logged nor counted, and its row follows")
    func gone() throws {
        let bench = try sweeping(["a-\(filesTime).ts"])
        unlink("\(bench.files.path)/a-\(filesTime).ts")
        let stop = try StopSignal()
        defer { stop.request() }
        sweep(bench, until: stop)
        try waitFor("the catalogue") { try bench.context.catalogue.stored().isEmpty }
        #expect(try bench.word("streamvault_deleted_files_total", ["age"]) == 0)
        #expect(try !bench.logged().contains("Recording deleted"))
    }
}
