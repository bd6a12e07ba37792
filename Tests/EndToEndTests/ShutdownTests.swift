import Foundation
import Testing

/// The lines that operators look for, word for word.
private let announcements = [
    "🛑 Starting application shutdown...",
    "🔄 Gracefully shutting down recording service...",
    "📹 Stopping active recording for stream live...",
    "📁 Finalizing recording files...",
    "✅ Recording service shutdown completed",
    "🔄 Stopping active recordings broadcaster...",
    "🔄 Cancelling cleanup task...",
    "🔄 Stopping EventSub...",
    "🔄 Closing database connections...",
    "✅ Database connections closed",
    "🎯 Application shutdown complete",
]

private let phases = ["signal", "recordings", "broadcaster", "cleanup", "eventsub", "database"]

/// Counters that say how runs ended.
private func ends(_ exporter: Exporter) throws -> [String: Double] {
    try exporter.metrics().filter { series, _ in
        [
            "shutdowns_total", "shutdown_phases_total", "crashes_total", "runs_total",
            "finished_total",
        ]
        .contains { series.contains($0) }
    }
}

@Suite("The end of a recorder, with a real stream and a real Prometheus", .serialized)
struct ShutdownTests {
    private let bench: Workbench
    private let exporter: Exporter
    private let prometheus: Prometheus

    init() throws {
        bench = try Workbench()
        exporter = try bench.startExporter()
        prometheus = try bench.startPrometheus(scraping: exporter)
    }

    /// A metric as the exporter shows it, of the recorder of these tests.
    private func shown(_ name: String, _ labels: String = "") throws -> Double? {
        let rest = labels.isEmpty ? "" : ",\(labels)"
        return try exporter.metrics()["streamvault_\(name){recorder=\"cam\"\(rest)}"]
    }

    private func record(_ streams: [String], _ flags: [String] = []) throws -> Recorder {
        let recorder = try bench.startRecorder(streams, flags)
        try eventually("media of \(streams.count) streams") {
            let counts = try recorder.active().components(separatedBy: "\"bytes\":").dropFirst()
            return counts.count == streams.count && counts.allSatisfy { !$0.hasPrefix("0") }
                ? () : nil
        }
        return recorder
    }

    @Test(
        "SIGTERM: exit 0, the file is whole, Prometheus has each phase as the log has it",
        .timeLimit(.minutes(10))
    )
    func cleanStop() throws {
        let recorder = try record([TestStream.hls("live", try bench.startLiveStream())])
        try eventually("the recording in Prometheus") {
            try prometheus.value("streamvault_recordings_active") == 1 ? () : nil
        }
        try eventually("some seconds of media") {
            try recorder.active().contains("\"duration\":3") ? () : nil
        }
        #expect(try recorder.program.stop() == 0, "\(recorder.program.log)")

        let files = try bench.recordings(".ts")
        #expect(files.count == 1)
        #expect(try bench.recordings(".part").isEmpty)
        #expect(try bench.playedSeconds(files[0]) >= 2)

        try eventually("the shutdown in Prometheus") {
            try prometheus.value(#"streamvault_shutdowns_total{outcome="clean"}"#) == 1 ? () : nil
        }
        #expect(recorder.announcements == announcements)
        let logged = recorder.loggedPhases
        #expect(Set(logged.keys) == Set(phases))
        for phase in phases {
            let selector = "streamvault_shutdown_phase_duration_seconds_sum{phase=\"\(phase)\"}"
            let seen = try #require(try prometheus.value(selector), "\(phase)")
            #expect(abs(seen - (logged[phase] ?? .nan)) < 0.01, "\(phase)")
        }
        #expect(
            try prometheus.value(#"streamvault_recordings_finished_total{result="interrupted"}"#)
                == 1
        )
        #expect(try prometheus.value("sum(streamvault_finalize_errors_total)") == 0)
        #expect(try prometheus.value("streamvault_recordings_active") == 0)
    }

    @Test(
        "SIGKILL while recording: one crash, and the next start publishes the file",
        .timeLimit(.minutes(10))
    )
    func crash() throws {
        let recorder = try record([TestStream.picture("one"), TestStream.picture("two")])
        recorder.program.signal(SIGKILL)
        _ = try recorder.program.exitStatus()
        #expect(try shown("crashes_total") == 1)
        #expect(try shown("recorder_state", #"streamvault_recorder_state="crashed""#) == 1)
        #expect(try exporter.health().status == 503)
        #expect(try shown("recordings_finished_total", #"result="abandoned""#) == 2)
        #expect(try bench.recordings(".part").count == 2)

        let next = try bench.startRecorder([])
        try eventually("the recovery") { try bench.recordings(".part").isEmpty ? () : nil }
        for file in try bench.recordings(".ts") { #expect(try bench.playedSeconds(file) > 0) }
        #expect(try bench.recordings(".ts").count == 2)
        #expect(try shown("crashes_total") == 1)
        #expect(try shown("recordings_finished_total", #"result="abandoned""#) == 2)
        #expect(try next.program.stop() == 0)
        #expect(try shown("crashes_total") == 1)
        #expect(try shown("shutdowns_total", #"outcome="clean""#) == 1)
    }

    @Test(
        "SIGKILL in the recordings phase: one killed shutdown, before and after the restart",
        .timeLimit(.minutes(10))
    )
    func killedInPhase() throws {
        let stubborn = TestStream.stubborn("slow", file: try bench.makeTransportStream())
        let recorder = try record([stubborn])
        recorder.program.signal(SIGTERM)
        _ = try recorder.program.line(containing: "📹 Stopping active recording for stream slow...")
        #expect(try exporter.health().status == 200, "finalizing must not fail the liveness probe")
        #expect(try shown("shutdown_phase_active", #"phase="recordings""#) == 1)
        let own = try recorder.health()
        #expect(own.status == 200)
        #expect(own.body.contains(#""phase":"recordings""#) && own.body.contains("seconds_left"))
        #expect(try recorder.active().contains(#""stream":"slow""#))
        recorder.program.signal(SIGKILL)
        _ = try recorder.program.exitStatus()

        func check(_ when: Comment) throws {
            #expect(try shown("shutdowns_total", #"outcome="killed""#) == 1, when)
            let killed = #"phase="recordings",outcome="killed""#
            #expect(try shown("shutdown_phases_total", killed) == 1, when)
            #expect(
                try shown("last_shutdown_outcome", #"streamvault_last_shutdown_outcome="killed""#)
                    == 1,
                when
            )
            #expect(try shown("last_shutdown_abandoned_recordings") == 1, when)
        }
        try check("before the restart")
        try eventually("the killed shutdown in Prometheus") {
            try prometheus.value(#"streamvault_shutdowns_total{outcome="killed"}"#) == 1 ? () : nil
        }
        let next = try bench.startRecorder([])
        try check("after the restart")
        next.program.signal(SIGKILL)
        _ = try next.program.exitStatus()
        #expect(try shown("shutdowns_total", #"outcome="killed""#) == 1)
        #expect(try shown("crashes_total") == 1)

        struct Shutdowns: Decodable {
            struct Recorder: Decodable { let shutdowns: [Run] }
            struct Run: Decodable {
                let outcome: String
                let fatalPhase: String?
                let abandonedRecordings: Int
            }
            let recorders: [Recorder]
        }
        let document = try get("http://127.0.0.1:\(exporter.port)/shutdowns").body
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let known = try decoder.decode(Shutdowns.self, from: Data(document.utf8)).recorders
        let runs = try #require(known.first).shutdowns
        #expect(runs.map(\.outcome) == ["killed", "crashed"])
        #expect(runs[0].fatalPhase == "recordings" && runs[0].abandonedRecordings == 1)
    }

    @Test(
        "the exporter is killed and restarted at any point: no number changes",
        .timeLimit(.minutes(10))
    )
    func exporterRestarts() throws {
        let stubborn = TestStream.stubborn("slow", file: try bench.makeTransportStream())
        let recorder = try record([stubborn])
        var exporter = self.exporter
        func restart() throws -> Exporter {
            exporter.program.kill()
            return try bench.startExporter(port: exporter.port)
        }
        let whileRecording = try ends(exporter)
        exporter = try restart()
        #expect(try ends(exporter) == whileRecording)

        recorder.program.signal(SIGTERM)
        _ = try recorder.program.line(containing: "📁 Finalizing recording files...")
        let whileStopping = try ends(exporter)
        exporter = try restart()
        #expect(try ends(exporter) == whileStopping)

        #expect(try recorder.program.exitStatus() == 0, "\(recorder.program.log)")
        let afterwards = try ends(exporter)
        #expect(afterwards[#"streamvault_shutdowns_total{recorder="cam",outcome="clean"}"#] == 1)
        exporter = try restart()
        #expect(try ends(exporter) == afterwards)
        try eventually("the last word in Prometheus") {
            try prometheus.value(#"streamvault_shutdowns_total{outcome="clean"}"#) == 1 ? () : nil
        }
    }

    @Test(
        "a program that heeds no signal: its recording is whole all the same, in any grace period",
        .timeLimit(.minutes(10)),
        arguments: ["3s", "10s", "60s"]
    )
    func stubbornProgram(_ grace: String) throws {
        let stubborn = TestStream.stubborn("slow", file: try bench.makeTransportStream())
        let recorder = try record([stubborn], ["--shutdown.grace-period", grace])
        #expect(try recorder.program.stop() == 0, "\(recorder.program.log)")
        #expect(try bench.recordings(".ts").count == 1)
        #expect(try bench.recordings(".part").isEmpty)
        #expect(try shown("shutdowns_total", #"outcome="clean""#) == 1)
    }

    @Test(
        "a second signal: no phase waits long, and the database is closed",
        .timeLimit(.minutes(10))
    )
    func secondSignal() throws {
        let stubborn = TestStream.stubborn("slow", file: try bench.makeTransportStream())
        let recorder = try record([stubborn])
        recorder.program.signal(SIGTERM)
        _ = try recorder.program.line(containing: "📁 Finalizing recording files...")
        recorder.program.signal(SIGINT)
        #expect(try recorder.program.exitStatus() == 1)
        #expect(recorder.program.log.contains("❌ Error during recording service shutdown: timeout"))
        #expect(recorder.program.log.contains("✅ Database connections closed"))
        #expect(try shown("shutdown_phases_total", #"phase="recordings",outcome="timeout""#) == 1)
        #expect(try shown("shutdowns_total", #"outcome="degraded""#) == 1)
        #expect(try shown("finalize_errors_total", #"reason="timeout""#) == 1)
        #expect(try shown("recordings_finished_total", #"result="abandoned""#) == 1)

        let next = try bench.startRecorder([])
        try eventually("the recovery") { try bench.recordings(".part").isEmpty ? () : nil }
        #expect(try bench.playedSeconds(try bench.recordings(".ts")[0]) > 0)
        #expect(try next.program.stop() == 0)
    }
}
