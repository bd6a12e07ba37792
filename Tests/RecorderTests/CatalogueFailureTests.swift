import Foundation
import Glibc
import Posix
import Testing

@testable import Catalogue
@testable import Recorder

@Suite("Catalogue on failing disks", .timeLimit(.minutes(5)))
struct CatalogueFailureTests {
    private let directory = FilesDirectory()

    private var path: String { "\(directory.path)/catalogue.sqlite" }

    private func reason(_ body: () throws -> Void) -> CatalogueError.Reason? {
        do {
            try body()
        } catch {
            return (error as? CatalogueError)?.reason
        }
        return nil
    }

    /// Inserts until that fails; the reason.
    private func fill(_ catalogue: Catalogue) -> CatalogueError.Reason? {
        reason {
            for _ in 0..<10_000 {
                var entry = catalogueEntry("/r/a.ts.part")
                entry.title = String(repeating: "x", count: 10_000)
                _ = try catalogue.start(entry)
            }
        }
    }

    @Test("a file that is no database is a typed error")
    func noDatabase() throws {
        try directory.write(String(repeating: "garbage ", count: 2000), to: "catalogue.sqlite")
        #expect(reason { _ = try Catalogue(path: path) } == .corrupt)
    }

    @Test("no damage to a page traps", arguments: [0, 20, 40, 96, 100, 1000, 4096, 8192, 12_288])
    func damage(at offset: Int) throws {
        let catalogue = try Catalogue(path: path)
        for number in 0..<200 { _ = try catalogue.start(catalogueEntry("/r/\(number).ts.part")) }
        try catalogue.close(until: .now().advanced(by: .seconds(5)))
        var bytes = try directory.bytes(of: "catalogue.sqlite")
        for index in offset..<min(offset + 3000, bytes.count) { bytes[index] = 0xFF }
        try directory.write(bytes, to: "catalogue.sqlite")
        let found = reason {
            let damaged = try Catalogue(path: path)
            _ = try damaged.active()
            for recording in try damaged.recoverUnfinished([], in: "/r") {
                #expect(recording.id > 0)
            }
            _ = try damaged.start(catalogueEntry("/r/new.ts.part"))
        }
        #expect(found == .corrupt || found == .other || found == nil)
        if offset == 0 || offset == 4096 { #expect(found == .corrupt) }
    }

    @Test("a directory that is not there is a typed error")
    func noDirectory() {
        #expect(reason { _ = try Catalogue(path: "/none/such/c.sqlite") } == .io)
    }

    @Test("a file without permission to write is a typed error")
    func readOnly() throws {
        let catalogue = try Catalogue(path: path)
        _ = try catalogue.start(catalogueEntry("/r/a.ts.part"))
        try catalogue.close(until: .now().advanced(by: .seconds(5)))
        chmod(path, 0o444)
        chmod(directory.path, 0o555)
        defer { chmod(directory.path, 0o755) }
        let found = try filesUnprivileged { reason { _ = try Catalogue(path: path) } }
        #expect(found == .readonly || found == .io)
    }

    @Test("a full disk is a typed error, and what was entered before stays")
    func fullDisk() throws {
        let mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", directory.path]
        guard try filesRun(mount) == 0 else { return try fullFile() }
        defer { _ = try? filesRun(["umount", "-l", directory.path]) }
        let catalogue = try Catalogue(path: path)
        let id = try catalogue.start(catalogueEntry("/r/first.ts.part"))
        #expect(fill(catalogue) == .full)
        #expect(try catalogue.active().first?.id == id)
        _ = try? catalogue.close(until: .now().advanced(by: .seconds(5)))
    }

    @Test("a file that may not grow is as full as a disk")
    func fullFile() throws {
        let catalogue = try Catalogue(path: path, poolSize: 1)
        _ = try catalogue.borrowConnection().connection.withDatabase {
            (database) throws(CatalogueError) in
            try database.run("PRAGMA max_page_count = 20").count
        }
        #expect(fill(catalogue) == .full)
        #expect(try !catalogue.active().isEmpty)
    }

    @Test("another program's lock is waited for, and then is a typed error")
    func busy() throws {
        let catalogue = try Catalogue(path: path, timeout: .milliseconds(100))
        let script = """
            import sqlite3, sys
            database = sqlite3.connect(sys.argv[1], isolation_level=None)
            database.execute("BEGIN EXCLUSIVE")
            print("ready", flush=True)
            sys.stdin.read()
            """
        let holder = try FilesHolder(["python3", "-c", script, path])
        let start = BootTime.now()
        #expect(reason { _ = try catalogue.start(catalogueEntry("/r/a.ts.part")) } == .busy)
        #expect(BootTime.now().since(start) >= .milliseconds(90))
        #expect(try catalogue.active().isEmpty)
        try holder.release()
        _ = try catalogue.start(catalogueEntry("/r/a.ts.part"))
    }

    @Test(
        "the reason of an SQLite code is one of the closed set",
        arguments: [
            (5, .busy), (261, .busy), (6, .busy), (13, .full), (11, .corrupt), (26, .corrupt),
            (8, .readonly), (1544, .readonly), (10, .io), (778, .io), (14, .io), (1, .other),
            (19, .other),
        ] as [(CInt, CatalogueError.Reason)]
    )
    func reason(ofCode code: CInt, is expected: CatalogueError.Reason) {
        #expect(CatalogueError.Reason(code: code) == expected)
    }
}
