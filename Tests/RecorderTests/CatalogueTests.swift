import Foundation
import Posix
import Synchronization
import Testing

@testable import Catalogue
@testable import Recorder

@Suite("Catalogue", .timeLimit(.minutes(5)))
struct CatalogueTests {
    private let directory = FilesDirectory()

    private var path: String { "\(directory.path)/catalogue.sqlite" }

    @Test("a recording is active from its start to its end, and lasts")
    func lifecycle() throws {
        let catalogue = try Catalogue(path: path)
        let first = try catalogue.start(catalogueEntry("/r/a.ts.part"))
        let second = try catalogue.start(catalogueEntry("/r/b.ts.part", stream: "b"))
        #expect(try catalogue.active().map(\.id) == [first, second])
        try catalogue.end(first, .failed, reason: "no_space")
        #expect(try catalogue.active().map(\.stream) == ["b"])
        try catalogue.close(until: .now().advanced(by: .seconds(5)))

        let again = try Catalogue(path: path)
        let all = try again.all()
        let part = CataloguePart(
            recordingID: first,
            number: 1,
            path: "/r/a.ts",
            container: "ts",
            status: .failed,
            endedAt: UTCTime(filesStart).advanced(by: 60),
            bytes: 1 << 40,
            failureReason: "no_space"
        )
        #expect(
            all.first
                == CatalogueRecording(
                    id: first,
                    stream: "cam",
                    title: "It's \"it\"; --",
                    status: .failed,
                    startedAt: UTCTime(filesStart),
                    endedAt: UTCTime(filesStart).advanced(by: 60),
                    failureReason: "no_space",
                    parts: [part]
                )
        )
        #expect(all.last?.status == .recording)
        #expect(all.last?.id == second)
    }

    @Test("every status can be entered", arguments: CatalogueRecording.Status.allCases)
    func status(_ status: CatalogueRecording.Status) throws {
        let catalogue = try Catalogue(path: path)
        let id = try catalogue.start(catalogueEntry("/r/a.ts.part"))
        try catalogue.end(id, status)
        #expect(try catalogue.active().isEmpty == (status != .recording))
    }

    @Test("the end of a part that is not there is an error, and what came with it is not entered")
    func unknownID() throws {
        let catalogue = try Catalogue(path: path)
        let known = catalogueEntry("/r/a.ts.part")
        let end = PartEnd(
            recordingID: 7_000_000,
            number: 2,
            status: .finished,
            bytes: 0,
            path: "",
            endedAt: UTCTime(filesStart)
        )
        let message = "there is no part 2 of recording 7000000"
        #expect(throws: CatalogueError.database(.other, message: message)) {
            try catalogue.apply([.partStarted(known), .partEnded(end)])
        }
        #expect(try catalogue.all().isEmpty)
    }

    @Test("closing leaves one file, without a log, that another program reads")
    func closing() throws {
        let catalogue = try Catalogue(path: path)
        _ = try catalogue.start(catalogueEntry("/r/a.ts.part"))
        #expect(try directory.entries.contains("catalogue.sqlite-wal"))
        try catalogue.close(until: .now().advanced(by: .seconds(5)))
        #expect(try directory.entries == ["catalogue.sqlite"])
        let query = "PRAGMA integrity_check; SELECT count(*) FROM recordings"
        #expect(try filesOutput(["sqlite3", path, query]) == "ok\n1\n")
        #expect(throws: CatalogueError.closed) { try catalogue.active() }
        try catalogue.close(until: .now())
    }

    @Test("each call is timed, and a failed one has its reason")
    func observed() throws {
        let shared = ReportList()
        let catalogue = try Catalogue(path: path) { shared.add($0) }
        let id = try catalogue.start(catalogueEntry("/r/a.ts.part"))
        try catalogue.end(id, .completed)
        _ = try? catalogue.end(-1, .completed)
        #expect(shared.failures == [nil, nil, .other])
    }

    @Test("of two catalogues that open one new file, one makes the schema and both work")
    func twoAtOnce() async throws {
        let path = path
        let ids = try await withThrowingTaskGroup(of: Int64.self) { group in
            for number in 0..<2 {
                group.addTask {
                    try Catalogue(path: path).start(catalogueEntry("/r/\(number).ts.part"))
                }
            }
            return try await group.reduce(into: Set()) { $0.insert($1) }
        }
        #expect(ids.count == 2)
    }

    @Test("a file of a newer recorder is refused, and not changed")
    func newerSchema() throws {
        #expect(try filesRun(["sqlite3", path, "PRAGMA user_version = 99"]) == 0)
        #expect(throws: CatalogueError.newerSchema(version: 99)) { try Catalogue(path: path) }
    }

    @Test("what a start asks of ten thousand recordings, it finds by indexes")
    func manyRecordings() throws {
        let catalogue = try Catalogue(path: path)
        try catalogue.fill(10_000)
        let id = try catalogue.start(catalogueEntry("/r/a.ts.part"))
        #expect(try catalogue.active().map(\.id) == [id])
        #expect(try catalogue.recoverUnfinished([], in: "/r").map(\.status) == [.failed])
        let questions: [(StaticString, String)] = [
            (
                "SELECT * FROM recordings WHERE status IN ('recording', 'abandoned')",
                "recordings_open"
            ),
            ("SELECT * FROM parts WHERE status IN ('recording', 'failed')", "parts_unfinished"),
            ("SELECT * FROM recordings WHERE ended_at >= '2026'", "recordings_by_end"),
            ("SELECT max(id) FROM recordings WHERE stream = 'cam'", "recordings_by_stream"),
        ]
        for (question, index) in questions {
            let plan = try catalogue.reading { (database) throws(CatalogueError) in
                try database.run("EXPLAIN QUERY PLAN \(question)")
            }
            #expect("\(plan)".contains("INDEX \(index)"), "\(question): \(plan)")
        }
    }
}

extension Catalogue {
    /// Enters `count` recordings of one part that are complete.
    func fill(_ count: Int) throws(CatalogueError) {
        _ = try transaction { (database) throws(CatalogueError) in
            let numbers =
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
            try database.run(
                """
                \(numbers) INSERT INTO recordings (id, stream, status, started_at, ended_at)
                SELECT i, 'cam', 'completed', '2026-01-01T00:00:00Z', '2026-01-01T01:00:00Z' FROM n
                """,
                [.integer(Int64(count))]
            )
            return try database.run(
                """
                \(numbers) INSERT INTO parts (recording_id, number, path, container, status, started_at)
                SELECT i, 1, '/r/' || i || '.ts', 'ts', 'finished', '2026-01-01T00:00:00Z' FROM n
                """,
                [.integer(Int64(count))]
            )
        }
    }
}

/// Collects reports from any thread.
final class ReportList: Sendable {
    private let reports = Mutex<[TransactionReport]>([])

    func add(_ report: TransactionReport) {
        reports.withLock { $0.append(report) }
    }

    var failures: [CatalogueError.Reason?] {
        reports.withLock { $0.map(\.failure) }
    }
}
