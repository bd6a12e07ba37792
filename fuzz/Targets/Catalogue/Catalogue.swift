import FuzzSupport
import Posix

@testable import Catalogue
@testable import Media
@testable import Recorder

/// A catalogue whose rows a stranger wrote, used as a recorder uses it; the bytes are names of files and lines of ffprobe, too.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzCatalogue(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let bytes = input(start, count)
    do throws(CatalogueError) {
        let catalogue = try Catalogue(path: Catalogue.inMemory)
        var script = RowScript(bytes)
        while let (statement, values) = script.next() {
            _ = try? catalogue.transaction { (database) throws(CatalogueError) in
                try database.run("PRAGMA foreign_keys = OFF")
                return try database.run(statement, values)
            }
        }
        try use(catalogue)
        try catalogue.close(until: .now())
    } catch {
        fatalError("\(error)")
    }
    readName(String(decoding: bytes, as: UTF8.self))
    readFacts(bytes)
    return 0
}

private func use(_ catalogue: Catalogue) throws(CatalogueError) {
    let now = UTCTime(seconds: 1_795_430_700)
    let recordings = try catalogue.stored()
    for recording in recordings { require(recording.storedBytes <= .max, "a sum") }
    let rules = RetentionRules(maxAge: .seconds(1), maxCount: 1, maxBytes: 1)
    let ages = RecordingAges(of: recordings, at: now, BootStamp(boot: "a", time: .now()))
    let expired = RetentionPlan(overall: rules).expired(
        of: recordings,
        aged: ages,
        resumeWindow: .seconds(600)
    )
    for (recording, _) in expired {
        require(recording.status != .recording, "what is recorded stays")
        require((ages[recording] ?? .zero) >= .zero, "no age is negative")
    }
    let resumableRecordings = ResumableRecordings(within: .seconds(600))
    for one in try catalogue.resumableRecordings() {
        resumableRecordings.add(one)
        _ = resumableRecordings.find(one.stream, at: now, lastingLessThan: .seconds(60))
    }
    let outcomes = [RemuxOutcome.failed(""), .sourceDeleted, .cancelled]
    for outcome in outcomes {
        guard let job = try? catalogue.takeJob(at: now) else { continue }
        _ = try? catalogue.end(job, outcome, at: now)
    }
    _ = try? catalogue.recoverUnfinished([], in: "/nowhere", at: now)
    require(try catalogue.newestID() <= CatalogueRecording.maxID, "an id of a recorder")
}

/// A name that is understood says the same when it is made anew.
private func readName(_ text: String) {
    _ = RecordingName(partName: text, in: "/r")
    guard let name = RecordingName(finalName: text, in: "/r"), let facts = name.parts else {
        return
    }
    let again = RecordingName(
        directory: "/r",
        stream: facts.stream,
        startedAt: facts.startedAt,
        part: facts.part,
        container: name.container
    )
    require(again.parts.map { $0 == facts } ?? false, "the same facts")
}

private func readFacts(_ bytes: [UInt8]) {
    var facts = MediaProbe()
    for line in bytes.split(separator: 0x0A) { facts.parse(String(decoding: line, as: UTF8.self)) }
    require(facts.streams.count <= MediaProbe.maxStreams, "bounded")
    _ = facts.loss(in: facts)
}
