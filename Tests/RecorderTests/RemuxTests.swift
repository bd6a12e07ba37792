import Foundation
import Glibc
import Posix
import Testing

@testable import Recorder

@Suite("Remux", .timeLimit(.minutes(5)))
struct RemuxTests {
    private let directory = FilesDirectory()

    private func catalogue() throws -> Catalogue {
        let catalogue = try Catalogue(path: "\(directory.path)/c.sqlite")
        let id = try catalogue.start(catalogueEntry("/r/a.ts.part"))
        try catalogue.end(id, .completed, path: "/r/a.ts", bytes: 376)
        let wish = CatalogueEntry.remuxWanted(recordingID: id, number: 1)
        try catalogue.enter([wish, wish])
        return catalogue
    }

    private func seconds(_ count: Int) -> UTCTime { UTCTime(filesStart).advanced(by: count) }

    @Test("a job is taken once, and again after a kill")
    func taking() throws {
        let catalogue = try catalogue()
        let job = try #require(try catalogue.takeJob(at: seconds(0)))
        #expect(job.attempts == 0 && job.status == .pending && job.source.bytes == 376)
        #expect(try catalogue.takeJob(at: seconds(0)) == nil)
        try catalogue.requeueJobs()
        #expect(try catalogue.takeJob(at: seconds(0))?.attempts == 1)
    }

    @Test("a job that fails waits longer each time, and is given up after five attempts")
    func attempts() throws {
        let catalogue = try catalogue()
        var now = 0
        for (attempt, pause) in [60, 120, 240, 480].enumerated() {
            let job = try #require(try catalogue.takeJob(at: seconds(now)))
            #expect(job.attempts == attempt)
            #expect(try catalogue.end(job, .failed("no"), at: seconds(now)) == .pending)
            #expect(try catalogue.takeJob(at: seconds(now + pause - 1)) == nil)
            now += pause
        }
        let last = try #require(try catalogue.takeJob(at: seconds(now)))
        #expect(try catalogue.end(last, .failed("no"), at: seconds(now)) == .failed)
        #expect(try catalogue.takeJob(at: seconds(now + 100_000)) == nil)
    }

    @Test("a job that a stop cut off is as it was before")
    func cancelled() throws {
        let catalogue = try catalogue()
        for _ in 0..<9 {
            let job = try #require(try catalogue.takeJob(at: seconds(0)))
            #expect(try catalogue.end(job, .cancelled, at: seconds(0)) == .pending)
        }
        #expect(try catalogue.takeJob(at: seconds(0))?.attempts == 0)
    }

    @Test("the product is entered before the source goes, and takes its place afterwards")
    func deleting() throws {
        let catalogue = try catalogue()
        let job = try #require(try catalogue.takeJob(at: seconds(0)))
        let product = StoredFile(path: "/r/a.mp4", bytes: 300)
        let outcome = RemuxOutcome.produced(product, deletesSource: true)
        #expect(try catalogue.end(job, outcome, at: seconds(0)) == .deleting)
        #expect(try catalogue.all()[0].parts[0].product == product)
        #expect(try catalogue.all()[0].storedBytes == 676)
        try catalogue.requeueJobs()
        let rest = try #require(try catalogue.takeJob(at: seconds(0)))
        #expect(rest.status == .deleting)
        #expect(try catalogue.end(rest, .sourceDeleted, at: seconds(0)) == .done)
        let part = try catalogue.all()[0].parts[0]
        #expect(part.path == "/r/a.mp4" && part.bytes == 300 && part.container == "mp4")
        #expect(part.product == nil)
    }

    @Test("a job whose part retention has removed is dropped")
    func removed() throws {
        let catalogue = try catalogue()
        let id = try catalogue.all()[0].id
        let deletion = PartDeletion(recordingID: id, number: 1, reason: .age, at: seconds(0))
        try catalogue.enter([.partDeleted(deletion)])
        #expect(try catalogue.takeJob(at: seconds(0)) == nil)
        #expect(try catalogue.stored().isEmpty)
    }

    @Test(
        "a product that lacks a stream or footage is not taken for the source",
        arguments: [
            (60, 1, 1, true), (59.1, 1, 1, true), (58.9, 1, 1, false), (60, 1, 0, false),
            (60, 0, 1, false), (61.1, 1, 1, false),
        ] as [(Double, Int, Int, Bool)]
    )
    func loss(_ seconds: Double, _ video: Int, _ audio: Int, _ isSame: Bool) throws {
        func answer(_ seconds: Double, _ video: Int, _ audio: Int) throws -> MediaFacts {
            let kinds =
                Array(repeating: "video", count: video) + Array(repeating: "audio", count: audio)
            let streams = kinds.map { "{\"codec_type\": \"\($0)\"}" }.joined(separator: ",")
            let json = "{\"streams\": [\(streams)], \"format\": {\"duration\": \"\(seconds)\"}}"
            return try #require(MediaFacts(json: json))
        }
        let loss = try answer(60, 1, 1).loss(in: answer(seconds, video, audio))
        #expect((loss == nil) == isSame, "\(loss ?? "")")
    }

    @Test(
        "what is no answer of ffprobe is no facts",
        arguments: ["", "{}", "{\"streams\": [], \"format\": {}}"]
    )
    func noFacts(_ json: String) { #expect(MediaFacts(json: json) == nil) }

    @Test(
        "a program that is stopped goes at once, with all that it started, at the lowest priority"
    )
    func stopped() throws {
        let stop = try StopSignal()
        let pidPath = "\(directory.path)/pid"
        let script =
            "trap '' TERM INT; sleep 600 & echo $! > '\(pidPath)'; nice > '\(pidPath).nice'; wait"
        let killer = Thread {
            while (try? FileSystem.status(of: pidPath + ".nice")).map({ $0.st_size > 0 }) != true {
                usleep(10_000)
            }
            stop.request()
        }
        killer.start()
        let program = BackgroundProgram(arguments: ["sh", "-c", script], patience: .seconds(50))
        #expect(throws: BackgroundProgram.Failure.stopped) { try program.run(until: stop) }
        let child = try #require(
            pid_t(
                try String(contentsOfFile: pidPath, encoding: .utf8).trimmingCharacters(
                    in: .newlines
                )
            )
        )
        // The orphan is reaped by whoever is process 1, so it may stay a zombie for a while.
        try waitFor("the end of what the program started") {
            let stat = try? String(contentsOfFile: "/proc/\(child)/stat", encoding: .utf8)
            return stat.map { $0.contains(") Z") || $0.contains(") X") } ?? true
        }
    }

    @Test("a program that takes too long, or fails, says so with its last line")
    func failing() throws {
        let stop = try StopSignal()
        func run(_ script: String, _ patience: Duration) throws -> String {
            try BackgroundProgram(arguments: ["sh", "-c", script], patience: patience).run(
                until: stop
            )
        }
        #expect(try run("echo out; echo err >&2", .seconds(50)) == "out\n")
        #expect(throws: BackgroundProgram.Failure.failed("sh failed: bad thing")) {
            try run("echo first >&2; echo bad thing >&2; exit 3", .seconds(50))
        }
        #expect(throws: BackgroundProgram.Failure.failed("sh took more than 100ms")) {
            try run("sleep 600", .milliseconds(100))
        }
        #expect(throws: BackgroundProgram.Failure.self) {
            try BackgroundProgram(arguments: ["no-such-program"], patience: .seconds(1)).run(
                until: stop
            )
        }
    }
}
