import Foundation
import Posix
import Testing

@testable import Catalogue
@testable import Recorder

@Suite("Catalogue journal", .timeLimit(.minutes(5)))
struct CatalogueJournalTests {
    private let directory = FilesDirectory()

    private var path: String { "\(directory.path)/c.sqlite" }

    private func inSeconds(_ count: Int) -> BootTime { .now().advanced(by: .seconds(count)) }

    private func journal(
        _ catalogue: Catalogue,
        interval: Duration = .milliseconds(20)
    ) throws -> CatalogueJournal {
        try CatalogueJournal(catalogue, Log(), interval: interval)
    }

    @Test("what was entered before the close is in the catalogue after it, in its order")
    func order() throws {
        let journal = try journal(try Catalogue(path: path))
        let entries = (0..<500).map { catalogueEntry("/r/\($0).ts.part") }
        for entry in entries { journal.append(.partStarted(entry)) }
        try journal.close(until: inSeconds(30))
        #expect(try Catalogue(path: path).all().map { $0.parts[0].path } == entries.map(\.path))
    }

    @Test("ids are of this moment, and no two are the same")
    func ids() throws {
        let journal = try journal(try Catalogue(path: path))
        let ids = (0..<1000).map { _ in journal.newRecordingID() }
        #expect(Set(ids).count == 1000 && ids == ids.sorted())
        #expect(Double(ids[0]) < 9_007_199_254_740_992, "JavaScript reads it without loss")
        try journal.close(until: inSeconds(5))
    }

    @Test("an entry that can never be made does not stop the others")
    func impossible() throws {
        let journal = try journal(try Catalogue(path: path))
        let entry = catalogueEntry("/r/a.ts.part")
        journal.append(.partStarted(entry))
        journal.append(.partStarted(entry))  // The same part twice.
        let end = RecordingEnd(recordingID: -1, status: .failed, endedAt: UTCTime(filesStart))
        journal.append(.recordingEnded(end))
        let last = catalogueEntry("/r/b.ts.part")
        journal.append(.partStarted(last))
        try journal.close(until: inSeconds(30))
        let kept = try Catalogue(path: path).all().map(\.id)
        #expect(kept == [entry.recordingID, last.recordingID])
    }

    @Test("while another program holds the lock nobody waits, and afterwards all is entered")
    func locked() throws {
        let journal = try journal(try Catalogue(path: path, timeout: .milliseconds(50)))
        let holder = try FilesHolder(["python3", "-c", lockingScript, path])
        let start = BootTime.now()
        for number in 0..<10 {
            journal.append(.partStarted(catalogueEntry("/r/\(number).ts.part")))
        }
        #expect(BootTime.now().since(start) < .seconds(5))
        try holder.release()
        try journal.close(until: inSeconds(30))
        #expect(try Catalogue(path: path).all().count == 10)
    }

    @Test("what cannot be entered by the deadline is an error of the close, with its reason")
    func lockedTillTheEnd() throws {
        let journal = try journal(try Catalogue(path: path, timeout: .milliseconds(50)))
        let holder = try FilesHolder(["python3", "-c", lockingScript, path])
        journal.append(.partStarted(catalogueEntry("/r/a.ts.part")))
        let error = #expect(throws: CatalogueError.self) { try journal.close(until: inSeconds(3)) }
        #expect(error?.reason == .busy)
        try holder.release()
    }
}

private let lockingScript = """
    import sqlite3, sys
    database = sqlite3.connect(sys.argv[1], isolation_level=None)
    database.execute("BEGIN EXCLUSIVE")
    print("ready", flush=True)
    sys.stdin.read()
    """
