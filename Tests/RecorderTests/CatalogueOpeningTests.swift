import Foundation
import Glibc
import Posix
import Testing

@testable import Catalogue
@testable import Recorder

@Suite("Opening the catalogue", .timeLimit(.minutes(5)))
struct CatalogueOpeningTests {
    private let directory = FilesDirectory()

    private var path: String { "\(directory.path)/catalogue.sqlite" }

    private func open() throws -> OpenedCatalogue {
        try Catalogue.openOrReplace(path: path, at: UTCTime(filesStart))
    }

    private func works(_ catalogue: Catalogue) throws -> Bool {
        let id = try catalogue.start(catalogueEntry("/r/a.ts.part"))
        return try catalogue.active().map(\.id) == [id]
    }

    @Test("a file that is in order is used as it is")
    func sound() throws {
        #expect(try works(open().catalogue))
        let again = try open()
        #expect(again.warning == nil)
        #expect(try again.catalogue.all().count == 1)
    }

    @Test(
        "a damaged file is moved away as it is, and a new one takes its place",
        arguments: [0, 4096]
    )
    func damaged(at offset: Int) throws {
        let catalogue = try Catalogue(path: path)
        for number in 0..<200 { try catalogue.start(catalogueEntry("/r/\(number).ts.part")) }
        try catalogue.close(until: .now().advanced(by: .seconds(5)))
        var bytes = try directory.bytes(of: "catalogue.sqlite")
        for index in offset..<offset + 3000 { bytes[index] = 0xFF }
        try directory.write(bytes, to: "catalogue.sqlite")
        let opened = try open()
        let keptAt = "\(path).damaged-20261123T104500Z"
        #expect(opened.warning?.error.reason == .corrupt)
        #expect(opened.warning?.description.hasSuffix("moved to \(keptAt)") == true)
        #expect(try directory.bytes(of: "catalogue.sqlite.damaged-20261123T104500Z") == bytes)
        #expect(try works(opened.catalogue))
        #expect(try open().warning == nil)
    }

    @Test("a file of a newer recorder is not touched, and memory takes its place")
    func newer() throws {
        #expect(try filesRun(["sqlite3", path, "PRAGMA user_version = 99"]) == 0)
        let before = try directory.bytes(of: "catalogue.sqlite")
        let opened = try open()
        #expect(opened.warning == .unusable(.newerSchema(version: 99)))
        #expect(try works(opened.catalogue))
        #expect(try directory.bytes(of: "catalogue.sqlite") == before)
    }

    @Test(
        "a schema version that no recorder writes is damage, not a crash",
        arguments: [-1, -2_147_483_648]
    )
    func negativeVersion(_ version: Int) throws {
        #expect(try filesRun(["sqlite3", path, "PRAGMA user_version = \(version)"]) == 0)
        let opened = try open()
        #expect(opened.warning?.error.reason == .corrupt)
        #expect(try works(opened.catalogue))
    }

    @Test("where no file can be, memory takes its place")
    func noDirectory() throws {
        let opened = try Catalogue.openOrReplace(path: "/none/such/catalogue.sqlite")
        #expect(opened.warning?.error.reason == .io)
        #expect(try works(opened.catalogue))
        try opened.catalogue.close(until: .now().advanced(by: .seconds(5)))
    }

    @Test("a catalogue of the first schema keeps its rows, each as a recording of one part")
    func firstSchema() throws {
        let rows = [
            "(1, 'cam', 'T', '/r/a.ts', 'ts', 'completed', '2026-11-23T10:45:00Z', '2026-11-23T10:46:00Z', 188, NULL)",
            "(2, 'cam', NULL, '/r/b.ts.part', 'ts', 'recording', '2026-11-23T10:47:00Z', NULL, 0, NULL)",
            "(9, 'b', NULL, '/r/c.mp4.part', 'mp4', 'failed', '2026-11-23T10:48:00Z', '2026-11-23T10:49:00Z', 7, 'io')",
        ]
        let statements =
            CatalogueSchema.steps[0]
            + ["INSERT INTO recordings VALUES \(rows.joined(separator: ", "))"]
            + ["PRAGMA user_version = 1"]
        #expect(try filesRun(["sqlite3", path, statements.joined(separator: ";")]) == 0)
        let catalogue = try Catalogue(path: path)
        let all = try catalogue.all()
        #expect(all.map(\.id) == [1, 2, 9])
        #expect(all.map(\.status) == [.completed, .recording, .failed])
        #expect(all.map { $0.parts.map(\.status) } == [[.finished], [.recording], [.failed]])
        #expect(all.map { $0.parts[0].path } == ["/r/a.ts", "/r/b.ts.part", "/r/c.mp4.part"])
        #expect(all[0].bytes == 188 && all[0].title == "T")
        #expect(all[2].parts[0].container == "mp4" && all[2].parts[0].failureReason == "io")
        try catalogue.close(until: .now().advanced(by: .seconds(5)))
        #expect(try filesOutput(["sqlite3", path, "PRAGMA integrity_check"]) == "ok\n")
    }

    @Test("a step that is cut off anywhere leaves the schema before it or the one after it")
    func cutMigration() async throws {
        for _ in 0..<4 {
            let (path, microseconds) = (path, UInt32.random(in: 0..<15_000))
            _ = try? FileManager.default.removeItem(atPath: path)
            await #expect(processExitsWith: .signal(SIGKILL)) {
                [path = path as String, microseconds = microseconds as UInt32] in
                let killer = Thread {
                    usleep(microseconds)
                    kill(getpid(), SIGKILL)
                }
                killer.start()
                while true { _ = try? Catalogue(path: path) }
            }
            #expect(try works(Catalogue(path: path)))
            #expect(try filesOutput(["sqlite3", path, "PRAGMA integrity_check"]) == "ok\n")
        }
    }

    @Test(
        "a catalogue has a write-ahead log; where it has none, that is said",
        arguments: ["delete", "memory", "unknown"]
    )
    func journalMode(_ mode: String) throws {
        let directory = FilesDirectory()
        #expect(try Catalogue(path: "\(directory.path)/c.sqlite").journalMode == "wal")
        #expect(try Catalogue(path: Catalogue.inMemory).journalMode == "memory")
        #expect(CatalogueWarning(journalMode: "wal") == nil)
        #expect(CatalogueWarning(journalMode: mode)?.description.contains(mode) == true)
    }
}
