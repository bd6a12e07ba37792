import Foundation
import JSON
import Posix
import TelemetryStage
import Testing

@testable import Exporter
@testable import StreamVaultTelemetry

@Suite("The health of recorders")
struct HealthTests {
    private let files: TelemetryDirectory

    init() throws {
        files = try TelemetryDirectory()
    }

    private func report(_ policy: HealthPolicy = HealthPolicy(), uptime: Duration = .zero)
        -> HealthReport
    {
        var directory = RecorderDirectory(path: files.path)
        return HealthReport(directory.read(), uptime: uptime, policy)
    }

    /// Status, state and readiness of the one recorder.
    private func row(_ policy: HealthPolicy = HealthPolicy()) -> [String] {
        let report = report(policy)
        return [
            "\(report.httpStatus)", report.recorders[0].status.rawValue, report.recorders[0].state,
            report.recorders[0].isReady ? "ready" : "not ready",
        ]
    }

    /// The recorder's health as it will be if nothing more is heard of it.
    private func health(after silence: Duration) throws -> RecorderHealth {
        var directory = RecorderDirectory(path: files.path)
        var known = directory.read()[0]
        let now = try #require(known.snapshot)
        known.snapshot = Snapshot(
            now.contents,
            words: now.words,
            isOwned: true,
            now: now.heartbeat.advanced(by: silence),
            bootID: .current()
        )
        return RecorderHealth(known, HealthPolicy())
    }

    @Test("no segment yet: well until the startup grace is over")
    func noSegment() {
        #expect(report(uptime: .seconds(59)).httpStatus == 200)
        #expect(report(uptime: .seconds(61)).httpStatus == 503)
    }

    @Test("a life from start to exit, row by row of the matrix")
    func life() throws {
        let publisher = try files.publisher()
        publisher.enter(.recording)
        #expect(row() == ["200", "pass", "recording", "ready"])
        #expect(try health(after: .seconds(9)).status == .pass)
        #expect(try health(after: .seconds(11)).state == "hung")
        #expect(try health(after: .seconds(11)).status == .fail)
        publisher.beginShutdown(signal: 15, gracePeriod: .seconds(60))
        #expect(row() == ["200", "warn", "stopping", "not ready"])
        #expect(try health(after: .seconds(11)).status == .warn, "a silent shutdown is not judged")
        let progress = try #require(report().recorders[0].shutdown)
        #expect(progress.phase == "recordings")
        #expect((58...60).contains(try #require(progress.left).inSeconds))
        publisher.finish(exitStatus: 0)
        #expect(row() == ["200", "warn", "stopped", "not ready"])
    }

    @Test("past the deadline: only the operator's word makes it a failure")
    func pastDeadline() throws {
        let publisher = try files.publisher()
        publisher.beginShutdown(signal: 15, gracePeriod: .nanoseconds(1))
        #expect(row()[0] == "200")
        #expect(
            row(HealthPolicy(failsPastDeadline: true)) == ["503", "fail", "stopping", "not ready"]
        )
    }

    @Test("deaths: without a shutdown crashed, in one killed, with the phase")
    func deaths() throws {
        _ = try files.publisher()
        #expect(row() == ["503", "fail", "crashed", "not ready"])
        try files.publisher().beginShutdown(signal: 15, gracePeriod: .seconds(60))
        #expect(row() == ["503", "fail", "killed", "not ready"])
        #expect(report().recorders[0].note?.contains("in recordings") == true)
    }

    @Test("the worst of several decides, and all are listed")
    func several() throws {
        let well = try files.publisher("well")
        _ = try files.publisher("dead")
        let report = report()
        #expect(report.httpStatus == 503)
        #expect(report.recorders.map(\.status) == [.fail, .pass])
        withExtendedLifetime(well) {}
    }

    @Test("an exporter that cannot read does not fail the recorder")
    func blind() throws {
        try Data("no segment".utf8).write(to: URL(fileURLWithPath: files.file("cam")))
        #expect(row() == ["200", "warn", "unknown", "not ready"])
    }

    @Test("the document is JSON that Foundation reads")
    func document() throws {
        let publisher = try files.publisher()
        publisher.beginShutdown(signal: 15, gracePeriod: .seconds(60))
        let object = try JSONSerialization.jsonObject(
            with: Data(JSONWriter.write(report().json, .line))
        )
        let document = try #require(object as? [String: Any])
        #expect(document["status"] as? String == "warn")
        let recorders = try #require(document["recorders"] as? [[String: Any]])
        #expect(recorders[0]["phase"] as? String == "recordings")
        #expect((recorders[0]["left_seconds"] as? Double ?? 0) > 58)
    }
}
