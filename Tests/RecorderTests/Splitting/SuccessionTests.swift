import Foundation
import Posix
import Testing

@testable import Catalogue
@testable import Media
@testable import Recorder

@Suite("Recordings that follow on one another", .timeLimit(.minutes(5)))
struct SuccessionTests {
    private let directory = FilesDirectory()
    private let tables = MadePackets.tables
    private let pictures = MadePackets.keyframe + MadePackets.picture + MadePackets.picture

    /// A stream that never ends, and is to be split three times a second.
    private func bench() throws -> APIBench {
        let file = try directory.write(tables + pictures, to: "media")
        var stream = StreamConfiguration(
            name: "cam",
            title: nil,
            source: .command(
                argv: ["sh", "-c", "while cat '\(file)'; do sleep 0.02; done"],
                container: .mpegTS
            )
        )
        stream.splitAfter = .milliseconds(300)
        return try APIBench([stream])
    }

    /// The files of all recordings, in their order.
    private func files(_ bench: APIBench) throws -> [[UInt8]] {
        try bench.context.catalogue.all().flatMap(\.parts).map { part in
            Array(try Data(contentsOf: URL(fileURLWithPath: part.path)))
        }
    }

    /// How all recordings ended, once the catalogue knows that.
    private func statuses(_ bench: APIBench) throws -> [String] {
        let started = try #require(try bench.word("streamvault_recordings_started_total"))
        try waitFor("the catalogue") {
            let statuses = try bench.statuses(of: "cam")
            return statuses.count == started && !statuses.contains("recording")
        }
        return try bench.statuses(of: "cam")
    }

    /// Whether this is what the program wrote, without the tables that each file but the first repeats.
    private func isWhole(_ files: [[UInt8]]) -> Bool {
        let repeated = files.dropFirst().flatMap { $0.dropFirst(tables.count) }
        let (media, turn) = ((files.first ?? []) + repeated, tables + pictures)
        return media == (0..<media.count / turn.count).flatMap { _ in turn }
    }

    @Test("each is completed, the next begins with the tables, and a stop ends the last")
    func follow() throws {
        let bench = try bench()
        bench.registry.open()
        try waitFor("three recordings") {
            #expect(bench.registry.active.count <= 1)
            return try bench.statuses(of: "cam").count { $0 == "completed" } >= 3
        }
        #expect(!bench.registry.active.isEmpty)
        bench.registry.workers[0].stop()
        try waitFor("the end") { bench.registry.workers[0].hasEnded }
        let statuses = try statuses(bench)
        #expect(statuses.allSatisfy { $0 == "completed" })
        let files = try files(bench)
        #expect(files.count == statuses.count)
        let finished = try bench.word("streamvault_recordings_finished_total", ["completed"])
        #expect(finished == UInt64(files.count))
        #expect(files.allSatisfy { $0.starts(with: tables) })
        #expect(isWhole(files))
        try bench.close()
    }

    @Test("a drain is over with the recording that is under way")
    func drain() throws {
        let bench = try bench()
        bench.registry.open()
        try waitFor("a recording") { !bench.registry.active.isEmpty }
        bench.registry.drain(bench.context)
        let begun = try bench.word("streamvault_recordings_started_total") ?? 0
        try waitFor("the end of the drain") { bench.registry.isDrained }
        let statuses = try statuses(bench)
        // One may have been about to begin.
        #expect(statuses.allSatisfy { $0 == "completed" } && statuses.count <= begun + 1)
        #expect(bench.registry.workers[0].failures == 0)
        try bench.close()
    }

    @Test("a shutdown interrupts the one that is under way, and the next run goes on with it")
    func shutdown() throws {
        let bench = try bench()
        bench.registry.open()
        try waitFor("a split") { try bench.statuses(of: "cam").count >= 2 }
        try bench.close()
        let statuses = try statuses(bench)
        #expect(statuses.last == "interrupted")
        #expect(statuses.dropLast().allSatisfy { $0 == "completed" })
        #expect(bench.context.resumableRecordings.find("cam", at: UTCTime(.now())) != nil)
    }

    @Test("on a disk that takes no new recording, the one that is under way goes on")
    func noRoom() throws {
        let bench = try bench()
        bench.registry.open()
        try waitFor("a recording") { !bench.registry.active.isEmpty }
        bench.context.disk.apply(DiskSpace(freeBytes: 0, sizeBytes: 1 << 40))
        try waitFor("a refusal") {
            try bench.logged().contains("msg=\"Recording not split, and continues\"")
        }
        let bytes = try #require(bench.registry.active.first).bytes
        try waitFor("more media") { bench.registry.active.contains { $0.bytes > bytes + 10_000 } }
        #expect(try bench.word("streamvault_recordings_refused_total", ["no_space"]) ?? 0 >= 1)
        try bench.close()
        #expect(try statuses(bench).last == "interrupted")
        #expect(isWhole(try files(bench)), "nothing is lost at the place")
    }
}
