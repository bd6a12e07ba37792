import Foundation
import Posix
import Synchronization
import Testing

@testable import Recorder

/// A recording of the stream `cam`, whose part file is `path`.
func catalogueEntry(_ path: String, stream: String = "cam") -> NewRecording {
    NewRecording(
        stream: stream,
        title: "It's \"it\"; --",
        path: path,
        container: .mpegTS,
        startedAt: UTCTime(filesStart)
    )
}

@Suite("Catalogue", .timeLimit(.minutes(1)))
struct CatalogueTests {
    private let directory = FilesDirectory()

    private var path: String { "\(directory.path)/catalogue.sqlite" }

    private func end(
        _ status: CatalogueRecording.Status,
        reason: String? = nil
    ) -> RecordingEnd {
        RecordingEnd(
            status: status,
            bytes: 1 << 40,
            path: "/r/a.ts",
            failureReason: reason,
            endedAt: UTCTime(WallTime(nanoseconds: filesStart.nanoseconds + 60_000_000_000))
        )
    }

    @Test("a recording is active from its start to its end, and lasts")
    func lifecycle() throws {
        let catalogue = try Catalogue(path: path)
        let first = try catalogue.start(catalogueEntry("/r/a.ts.part"))
        let second = try catalogue.start(catalogueEntry("/r/b.ts.part", stream: "b"))
        #expect(try catalogue.active().map(\.id) == [first, second])
        try catalogue.end(first, end(.failed, reason: "no_space"))
        #expect(try catalogue.active().map(\.stream) == ["b"])
        try catalogue.close(until: .now().advanced(by: .seconds(5)))

        let again = try Catalogue(path: path)
        let all = try again.transaction { (database) throws(CatalogueError) in
            try database.recordings(where: "1")
        }
        #expect(
            all.first
                == CatalogueRecording(
                    id: first,
                    stream: "cam",
                    title: "It's \"it\"; --",
                    path: "/r/a.ts",
                    container: "ts",
                    status: .failed,
                    startedAt: "2026-11-23T10:45:00Z",
                    endedAt: "2026-11-23T10:46:00Z",
                    bytes: 1 << 40,
                    failureReason: "no_space"
                )
        )
        #expect(all.last?.status == .recording)
        #expect(try again.start(catalogueEntry("/r/c.ts.part")) > second)
    }

    @Test("every status can be entered", arguments: CatalogueRecording.Status.allCases)
    func status(_ status: CatalogueRecording.Status) throws {
        let catalogue = try Catalogue(path: path)
        let id = try catalogue.start(catalogueEntry("/r/a.ts.part"))
        try catalogue.end(id, end(status))
        #expect(try catalogue.active().isEmpty == (status != .recording))
    }

    @Test("the end of a recording that is not there is an error")
    func unknownID() throws {
        let catalogue = try Catalogue(path: path)
        #expect(throws: CatalogueError.database(.other, message: "no recording has the id 7")) {
            try catalogue.end(7, end(.completed))
        }
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
        try catalogue.end(id, end(.completed))
        _ = try? catalogue.end(99, end(.completed))
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

    @Test("ten thousand recordings open and list at once, by the index")
    func manyRecordings() throws {
        let catalogue = try Catalogue(path: path)
        _ = try catalogue.transaction { (database) throws(CatalogueError) in
            try database.run(
                """
                WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
                INSERT INTO recordings (stream, path, container, status, started_at)
                SELECT 'cam', '/r/' || i || '.ts', 'ts', 'completed', '' FROM n
                """
            )
        }
        let id = try catalogue.start(catalogueEntry("/r/a.ts.part"))
        try catalogue.close(until: .now().advanced(by: .seconds(5)))
        let start = BootTime.now()
        let again = try Catalogue(path: path)
        #expect(try again.active().map(\.id) == [id])
        #expect(try again.recoverUnfinished([]).map(\.status) == [.failed])
        #expect(BootTime.now().since(start) < .milliseconds(500))
        let plan = try again.transaction { (database) throws(CatalogueError) in
            try database.run(
                """
                EXPLAIN QUERY PLAN SELECT * FROM recordings
                WHERE status <> 'completed' AND status = 'recording'
                """
            )
        }
        #expect("\(plan)".contains("USING INDEX recordings_unfinished"))
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
