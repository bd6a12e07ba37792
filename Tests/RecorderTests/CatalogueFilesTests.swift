import Foundation
import Glibc
import Posix
import Synchronization
import Testing

@testable import Catalogue
@testable import Recorder

@Suite("A catalogue whose files others change", .timeLimit(.minutes(5)))
struct CatalogueFilesTests {
    private let directory = FilesDirectory()

    private var path: String { "\(directory.path)/r/catalogue.sqlite" }

    private func shell(_ script: String) throws {
        #expect(try filesRun(["sh", "-ec", script, "sh", path, "\(directory.path)/r"]) == 0)
    }

    /// A catalogue with a recording that is complete, and another under way.
    private func openCatalogue() throws -> (Catalogue, complete: Int64, running: Int64) {
        mkdir("\(directory.path)/r", 0o755)
        let catalogue = try Catalogue(path: path, timeout: .milliseconds(200))
        let complete = try catalogue.start(catalogueEntry("/r/a.ts.part"))
        try catalogue.end(complete, .completed)
        return (catalogue, complete, try catalogue.start(catalogueEntry("/r/b.ts.part")))
    }

    /// The ids that another program finds in the file.
    private func stored() throws -> [String] {
        try filesOutput(["sqlite3", path, "SELECT id FROM recordings ORDER BY id"])
            .split(separator: "\n").map(String.init)
    }

    @Test("files in their place are left as they are")
    func unchanged() throws {
        let (catalogue, _, running) = try openCatalogue()
        #expect(try catalogue.checkFiles() == nil)
        try catalogue.end(running, .completed)
        #expect(try catalogue.checkFiles() == nil)
        #expect(try Catalogue(path: Catalogue.inMemory).checkFiles() == nil)
        try catalogue.close(until: .now().advanced(by: .seconds(5)))
    }

    @Test(
        "a catalogue whose files are gone is written again, with all that was in it",
        arguments: [
            ("rm \"$1\" \"$1\"-wal \"$1\"-shm", .removed), ("rm \"$1\"", .removed),
            ("mv \"$1\" \"$1\".old", .removed), ("rm -rf \"$2\"", .removed),
            ("mv \"$2\" \"$2\".old; mkdir \"$2\"", .removed),
            ("echo garbage >\"$2\"/new; mv \"$2\"/new \"$1\"", .replaced),
            ("rm \"$1\"-wal", .log), ("rm \"$1\"-shm; touch \"$1\"-shm", .log),
        ] as [(String, CatalogueLoss)]
    )
    func gone(_ script: String, _ loss: CatalogueLoss) throws {
        let (catalogue, complete, running) = try openCatalogue()
        try shell(script)
        #expect(try catalogue.checkFiles() == loss)
        #expect(try catalogue.checkFiles() == nil)
        #expect(try stored() == ["\(complete)", "\(running)"])
        try catalogue.end(running, .completed)
        let next = try catalogue.start(catalogueEntry("/r/c.ts.part"))
        #expect(try stored() == ["\(complete)", "\(running)", "\(next)"])
        try catalogue.close(until: .now().advanced(by: .seconds(5)))
        #expect(try filesOutput(["sqlite3", path, "PRAGMA integrity_check"]) == "ok\n")
        #expect(try stored().count == 3)
        let left = try FileSystem.entries(of: "\(directory.path)/r")
        #expect(left.allSatisfy { !$0.contains(".copy-") })
    }

    @Test("a database that was moved away has all that was entered until then")
    func moved() throws {
        let (catalogue, complete, running) = try openCatalogue()
        try shell("mv \"$1\" \"$1\".old")
        #expect(try catalogue.checkFiles() == .removed)
        let kept = try Catalogue(path: "\(path).old").all().map(\.id)
        #expect(kept == [complete, running])
    }

    @Test("one that was replaced by another catalogue is used, with the recordings under way")
    func replaced() throws {
        let (catalogue, _, running) = try openCatalogue()
        try catalogue.apply([.remuxRequested(recordingID: running, number: 1)])
        let other = "\(directory.path)/other.sqlite"
        let earlier = try Catalogue(path: other)
        let old = try earlier.start(catalogueEntry("/r/old.ts.part"))
        try earlier.end(old, .completed)
        // A backup knows the recording that is under way, too, as it was then.
        var same = catalogueEntry("/r/earlier.ts.part")
        same.recordingID = running
        try earlier.start(same)
        try earlier.end(running, .interrupted)
        try earlier.close(until: .now().advanced(by: .seconds(5)))
        try shell("mv \"$2\"/../other.sqlite \"$1\"")
        #expect(try catalogue.checkFiles() == .replaced)
        #expect(try stored() == ["\(running)", "\(old)"].sorted())
        #expect(try catalogue.active().map { $0.parts.map(\.path) } == [["/r/b.ts.part"]])
        #expect(try catalogue.takeJob(at: UTCTime(filesStart)) == nil, "its part has no file yet")
        try catalogue.end(running, .completed)
        try catalogue.close(until: .now().advanced(by: .seconds(5)))
        #expect(try filesOutput(["sqlite3", path, "PRAGMA foreign_key_check"]) == "")
    }

    static let plants = ["", "-wal", "-shm"].flatMap { suffix in
        [
            ("ln -s target \"$1\"\(suffix)", "symbolic link"),
            ("mkfifo \"$1\"\(suffix)", "not a regular file"),
            ("mkdir \"$1\"\(suffix)", "not a regular file"),
        ]
    }

    @Test(
        "a start follows no link, and waits for no FIFO: memory takes its place",
        arguments: plants
    )
    func planted(_ script: String, _ reason: String) throws {
        mkdir("\(directory.path)/r", 0o755)
        try directory.write("precious", to: "r/target")
        try shell(script)
        let opened = try Catalogue.openOrReplace(path: path)
        #expect(opened.warning?.error.reason == .io)
        #expect(opened.warning?.description.contains(reason) == true)
        _ = try opened.catalogue.start(catalogueEntry("/r/a.ts.part"))
        #expect(try directory.bytes(of: "r/target") == Array("precious".utf8))
        let left = try FileSystem.entries(of: "\(directory.path)/r")
        #expect(left.count == 2)
    }

    @Test("links in the directory's path are the administrator's, and followed")
    func linkedDirectory() throws {
        mkdir("\(directory.path)/real", 0o755)
        symlink("real", "\(directory.path)/r")
        #expect(try Catalogue.openOrReplace(path: path).warning == nil)
    }

    @Test(
        "what cannot be opened in its place is left, and the open file used until it can",
        arguments: plants[..<3].map(\.0)
    )
    func plantedLater(_ script: String) throws {
        let (catalogue, complete, running) = try openCatalogue()
        try directory.write("precious", to: "r/target")
        try shell("rm \"$1\"; \(script)")
        for _ in 0..<2 { #expect(throws: CatalogueError.self) { try catalogue.checkFiles() } }
        try catalogue.end(running, .completed)
        #expect(try directory.bytes(of: "r/target") == Array("precious".utf8))
        try shell("rm -rf \"$1\"")
        #expect(try catalogue.checkFiles() == .removed)
        #expect(try catalogue.all().map(\.status) == [.completed, .completed])
        #expect(try stored() == ["\(complete)", "\(running)"])
    }

    @Test("files that come back, as after an unmount, are reported as that")
    func comesBack() throws {
        let (catalogue, _, _) = try openCatalogue()
        let events = Mutex<[CatalogueFileEvent]>([])
        let journal = try CatalogueJournal(catalogue, Log(), interval: .milliseconds(10)) { event in
            events.withLock { $0.append(event) }
        }
        // Each in one step: the journal would write a catalogue into the gap between two.
        try shell("ln \"$1\" \"$1\".kept; ln -s none \"$1\".link; mv -T \"$1\".link \"$1\"")
        try waitFor("the loss") { events.withLock { $0.last } == .lost }
        try shell("mv -T \"$1\".kept \"$1\"")
        try waitFor("the return") { events.withLock { $0.last } == .restored }
        try journal.close(until: .now().advanced(by: .seconds(30)))
        #expect(events.withLock { $0.filter { $0 == .restored }.count } == 1)
    }

    @Test("the journal notices it by itself, logs it once, and enters what comes after it")
    func journal() throws {
        let (catalogue, complete, running) = try openCatalogue()
        let events = Mutex<[CatalogueFileEvent]>([])
        let log = Log(
            file: try FileDescriptor(
                opening: "\(directory.path)/log",
                O_WRONLY | O_CREAT | O_APPEND
            )
        )
        let journal = try CatalogueJournal(catalogue, log, interval: .milliseconds(10)) { event in
            events.withLock { $0.append(event) }
        }
        try shell("ln -s none \"$1\".link; mv -T \"$1\".link \"$1\"")
        try waitFor("the loss") { events.withLock { $0.count } >= 3 }
        #expect(events.withLock { $0.allSatisfy { $0 == .lost } })
        try shell("rm \"$1\"")
        try waitFor("the new file") { events.withLock { $0.last } == .reopened(.removed) }
        let next = catalogueEntry("/r/c.ts.part")
        journal.append(.partStarted(next))
        try waitFor("the entry") {
            try stored() == ["\(complete)", "\(running)", "\(next.recordingID)"]
        }
        try journal.close(until: .now().advanced(by: .seconds(30)))
        let text = String(decoding: try directory.bytes(of: "log"), as: UTF8.self)
        #expect(text.matches(of: /cannot be opened again yet/).count == 1, "\(text)")
        #expect(text.matches(of: /Catalogue opened again/).count == 1, "\(text)")
    }
}
