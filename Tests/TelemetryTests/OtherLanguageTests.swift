import Foundation
import Posix
import Testing

@testable import StreamVaultTelemetry

@Suite("docs/segment.md is sufficient for other languages", .timeLimit(.minutes(5)))
struct OtherLanguageTests {
    private static func script(_ name: String, _ arguments: String...) throws -> Fixture {
        let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        let path = folder.appendingPathComponent("Fixtures/\(name)").path
        return try Fixture(running: ["python3", path] + arguments)
    }

    enum Moment: CaseIterable, Sendable {
        case recording, killed, degraded
    }

    @Test("a reader in Python and the Swift reader return the same", arguments: Moment.allCases)
    func reader(_ moment: Moment) throws {
        let directory = try TemporaryDirectory()
        try crash(directory)
        var publisher: Publisher? = try directory.start(version: "2.0-ä")
        if let publisher { live(publisher, until: moment) }
        if moment != .recording { publisher = nil }
        let output = try Self.script("read_segment.py", directory.segmentPath()).lines()
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let seen = try decoder.decode(Portrait.self, from: Data(output.joined().utf8))
        let expected = Portrait(try directory.snapshot())
        #expect(seen.identity == expected.identity)
        #expect(seen.owned == (moment == .recording))
        #expect(seen.verdict == expected.verdict)
        #expect(seen.lifecycle == expected.lifecycle)
        #expect(seen.families == expected.families)
        for series in expected.series { #expect(seen.series.contains(series), "\(series)") }
        #expect(seen.series.count == expected.series.count)
        #expect(seen.recordings == expected.recordings)
        #expect(seen.ended == expected.ended)
        #expect(seen.history == expected.history)
        withExtendedLifetime(publisher) {}
    }

    private func crash(_ directory: TemporaryDirectory) throws {
        let publisher = try directory.start(version: "1.0", phases: ["recordings"])
        publisher.counter("test_total", "Counts.", labels: ["a": "x", "b": "ä€"]).add(40)
        _ = publisher.startRecording(id: 9, stream: "a", path: "/a", container: "ts")
    }

    private func live(_ publisher: Publisher, until moment: Moment) {
        publisher.enter(.recording)
        publisher.counter("test_total", "Counts.", labels: ["a": "x", "b": "ä€"]).add(2)
        publisher.counter("test_total", "Counts.", labels: ["a": "gone", "b": ""]).add(2)
        publisher.retire("test_total", ["gone", ""])
        publisher.gauge("test_bytes", "Level.", unit: "bytes").set(-1.5)
        publisher.histogram("test_seconds", "Times.", bounds: [.seconds(1)]).observe(.seconds(2))
        publisher.startRecording(id: 1, stream: "b", path: "/b", container: "ts").end(.failed)
        let open = ["a", "b", "a"].enumerated().map { index, stream in
            publisher.startRecording(
                id: UInt64(index),
                stream: stream,
                path: "/\(stream)/ü.ts",
                container: "mp4"
            )
        }
        open[0].wrote(10)
        open[2].wrote(20)
        open[1].finalizing()
        if moment == .recording { return }
        publisher.beginShutdown(signal: 15, gracePeriod: .seconds(30))
        if moment == .killed { return }
        for recording in open { recording.end(.interrupted) }
        publisher.beginPhase("database", after: .timeout)
        publisher.finish(exitStatus: -1)
    }

    @Test(
        "a segment of a publisher in Python is read, and a Swift run continues its counts"
    )
    func publisher() throws {
        let directory = try TemporaryDirectory()
        let python = try Self.script("publish_segment.py", directory.path, "test", "7")
        #expect(try python.line() == "running")
        let alive = try directory.snapshot()
        #expect(alive.verdict == .alive)
        #expect(alive.contents.identity.version == "python-1")
        #expect(alive.contents.lifecycle.state == .recording)
        #expect(alive.contents.lifecycle.phases.map(\.name) == ["recordings"])
        #expect(alive.value("test_total", "python") == 7)
        #expect(throws: PublisherError.nameTaken("test")) { try directory.start() }
        python.killAlone()
        #expect(try directory.snapshot().verdict == .ended(.crashed))
        let swift = try directory.start()
        swift.counter("test_total", "Now in Swift.", labels: ["origin": "python"]).add(5)
        let next = try directory.snapshot()
        #expect(next.value("test_total", "python") == 12)
        #expect(next.history.map(\.end) == [.crashed])
        let refused = try Self.script("publish_segment.py", directory.path, "test", "7")
        #expect(refused.wait() == .code(1))
        #expect(directory.entries == ["test.telemetry"])
    }
}
