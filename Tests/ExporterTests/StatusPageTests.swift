import Foundation
import HTTP
import TelemetryStage
import Testing

@testable import Exporter

/// The page in every state, read by a parser that others wrote (html5lib, strict).
@Suite("The page for people")
struct StatusPageTests {
    private let files: TelemetryDirectory

    init() throws {
        files = try TelemetryDirectory()
    }

    /// The heading, and the text of the elements of a class; the page is checked on the way.
    private func read(_ response: Response, _ name: String) throws -> [String] {
        let policy = try #require(response.header("Content-Security-Policy"))
        let checked = try run(
            projectPython,
            [testFile("Fixtures/check_page.py"), policy, name],
            input: response.body
        )
        #expect(checked.status == 0, "\(checked.output)")
        return checked.output.split(separator: "\n").map(String.init)
    }

    static let states: [(Scene, heading: String, detail: String)] = [
        (.empty, "No recorder yet", "Nothing has published telemetry in"),
        (.starting, "cam-1 is starting", "It was started 2 s ago."),
        (.recording, "cam-1 is recording", "3 streams, all writing."),
        (
            .stalled, "cam-1 is recording, but a stream has stalled",
            "3 streams. yard-north has written nothing for 4 m 12 s."
        ),
        (.draining, "cam-1 is draining", "exits when 3 recordings have ended."),
        (.stopping, "cam-1 is shutting down", "In the phase recordings; 2 recordings open."),
        (
            .late, "cam-1 is shutting down, past its deadline",
            "In the phase database, 11 s past the grace period"
        ),
        (.hung, "cam-1 hangs", "No heartbeat for 47 s, but its process is alive."),
        (.clean, "cam-1 has stopped", "It exited 35 s ago without errors."),
        (
            .degraded, "cam-1 has stopped with errors",
            "but recordings, eventsub timed out, and cleanup failed. 1 recording was abandoned."
        ),
        (
            .killed, "cam-1 was killed",
            "It died 34 s ago during its shutdown, in the phase recordings. 2 recordings were abandoned."
        ),
        (
            .crashed, "cam-1 has crashed",
            "It died 0 s ago without a shutdown. 3 recordings were abandoned."
        ),
        (
            .unreadable, "cam-1 cannot be read",
            "Its telemetry cannot be read: not a telemetry segment."
        ),
        (.several, "1 of 3 recorders needs attention", "3 streams, all writing."),
        (.hostile, "cam-1 is shutting down", "In the phase \"'&<>; 2 recordings open."),
    ]

    @Test("describes the state of the recorder", arguments: states.indices)
    func words(_ row: Int) throws {
        let (scene, heading, detail) = Self.states[row]
        let runs = try scene.set(in: files.path)
        var served = try Served(files.path)
        let lines = try read(served.ask("/"), "detail")
        #expect(lines.first == heading)
        #expect(lines.dropFirst().contains { $0.contains(detail) }, "\(lines)")
        withExtendedLifetime(runs) {}
    }

    @Test("has every state")
    func completeness() {
        #expect(Self.states.map(\.0) == Scene.allCases)
    }

    @Test("shows a shutdown with its deadline, and the open recordings")
    func shutdown() throws {
        let runs = try Scene.stopping.set(in: files.path)
        var served = try Served(files.path)
        let response = try served.ask("/")
        let clock = try #require(try read(response, "clock").last)
        #expect(clock.hasPrefix("41.") && clock.contains("s left · 18."), "\(clock)")
        #expect(clock.hasSuffix("of 60 s · SIGTERM"))
        let phases = try read(response, "phases").last
        #expect(phases?.contains("recordings ● running 18.") == true, "\(phases ?? "")")
        #expect(try read(response, "name").dropFirst() == ["gate", "yard-north"])
        withExtendedLifetime(runs) {}
    }

    @Test("lists past runs, the latest first, with outcome and lost recordings")
    func past() throws {
        let runs = try Scene.recording.set(in: files.path)
        var served = try Served(files.path)
        let table = try #require(try read(served.ask("/"), "shutdowns").last)
        let outcomes = ["✕ killed", "! degraded", "✕ crashed", "✓ clean"]
        let places = outcomes.map { table.range(of: $0)?.lowerBound ?? table.endIndex }
        #expect(places == places.sorted() && !places.contains(table.endIndex), "\(table)")
        #expect(table.contains("2 recordings abandoned"))
        #expect(table.contains("31.3 s 52 % of 60 s"))
        withExtendedLifetime(runs) {}
    }

    @Test("shows the last values when a segment becomes unreadable")
    func unreadable() throws {
        var runs = try Scene.recording.set(in: files.path)
        var served = try Served(files.path)
        _ = try served.ask("/")
        runs = []
        try Data("no segment".utf8).write(to: URL(fileURLWithPath: files.file("cam-1")))
        let response = try served.ask("/")
        #expect(try read(response, "detail").last?.contains("last ones that were read") == true)
        #expect(try read(response, "name").count == 4)
        #expect(runs.isEmpty)
    }

    @Test("does not claim that there is no recorder when the directory is unreadable")
    func unreadableDirectory() throws {
        try Data().write(to: URL(fileURLWithPath: files.file("cam-1")))
        var served = try Served(files.file("cam-1"))
        let lines = try read(served.ask("/"), "detail")
        #expect(lines.first == "The telemetry directory cannot be read")
        #expect(lines.last?.contains("cannot be read: Not a directory.") == true, "\(lines)")
    }

    @Test("shows hostile names as text only")
    func hostile() throws {
        let runs = try Scene.hostile.set(in: files.path)
        var served = try Served(files.path)
        let response = try served.ask("/")
        #expect(!response.text.contains("<script>alert") && !response.text.contains("<img"))
        let names = try read(response, "name")
        #expect(names.contains("<script>alert(\"x\")</script>"))
        #expect(names.contains("\u{FFFD}gnp.&amp;"))
        withExtendedLifetime(runs) {}
    }

    @Test("has a policy of its own for each response, and cannot be framed, cached or sniffed")
    func headers() throws {
        var served = try Served(files.path)
        let (first, second) = (try served.ask("/"), try served.ask("/"))
        #expect(
            first.header("Content-Security-Policy") != second.header("Content-Security-Policy")
        )
        #expect(
            first.header("Content-Security-Policy")?.contains("frame-ancestors 'none'") == true
        )
        #expect(first.contentType == "text/html; charset=utf-8")
        #expect(first.header("Referrer-Policy") == "no-referrer")
        #expect(first.header("X-Content-Type-Options") == "nosniff")
        #expect(first.header("Cache-Control") == "no-store")
    }

    @Test("contains no style and script in an update of an open page")
    func update() throws {
        var served = try Served(files.path)
        let page = try served.ask("/?update").text
        #expect(page.contains("<main") && page.contains("<title>"))
        #expect(!page.contains("<style") && !page.contains("<script"))
    }

    @Test("is updated more often during a shutdown")
    func refresh() throws {
        var served = try Served(files.path)
        #expect(try served.ask("/").text.contains("data-refresh=\"3\""))
        let runs = try Scene.stopping.set(in: files.path)
        #expect(try served.ask("/").text.contains("data-refresh=\"1\""))
        withExtendedLifetime(runs) {}
    }

    @Test("has a limited size, however many recorders there are")
    func size() throws {
        var runs: [StagedRun] = []
        for number in 0..<40 {
            let directory = try TelemetryDirectory()
            runs += try Scene.killed.set(in: directory.path)
            // A copy under another name shows as unreadable: the cheapest crowd.
            try FileManager.default.copyItem(
                atPath: directory.file("cam-1"),
                toPath: files.file("cam-\(number)")
            )
        }
        var served = try Served(files.path)
        let page = try served.ask("/")
        #expect(page.body.count < 200_000)
        #expect(page.text.contains("and 8 more recorders"))
    }
}
