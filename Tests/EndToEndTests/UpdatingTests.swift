import Foundation
import Testing

/// How recorders are replaced: the drain, the gate before an update, and what clients are told.
@Suite("A recorder that is to be replaced", .serialized)
struct UpdatingTests {
    private let bench: Workbench
    private let exporter: Exporter

    init() throws {
        bench = try Workbench()
        exporter = try bench.startExporter()
        try "a-token".write(toFile: bench.path("token"), atomically: true, encoding: .utf8)
    }

    /// Packets until `end` appears in the bench's directory, and then the stream's own end.
    private func untilTold(_ name: String) throws -> String {
        let (file, end) = (try bench.makeTransportStream(), bench.path("end"))
        let loop = "while [ ! -e '\(end)' ] && cat '\(file)'; do sleep 0.2; done"
        return TestStream.command(name, ["sh", "-c", loop])
    }

    private func record(_ streams: [String]) throws -> Recorder {
        let recorder = try bench.startRecorder(
            streams,
            ["--web.bearer-token-file", bench.path("token")]
        )
        try eventually("a recording") {
            try recorder.active().contains(#""status":"recording""#) ? () : nil
        }
        return recorder
    }

    private func state(_ name: String) throws -> Double? {
        let series =
            #"streamvault_recorder_state{recorder="cam",streamvault_recorder_state="\#(name)"}"#
        return try exporter.metrics()[series]
    }

    private func waitIdle(_ recorder: Recorder, _ timeout: String) throws -> Int32 {
        let url = "http://127.0.0.1:\(recorder.port)/"
        let flags = ["--interval", "100ms", "--timeout", timeout]
        return try bench.run("streamvault-recorder", ["wait-idle", url] + flags).status
    }

    /// As the image asks for its own health.
    private func healthcheck(_ recorder: Recorder) throws -> (status: Int32, output: String) {
        let url = "http://127.0.0.1:\(recorder.port)/health"
        return try bench.run("streamvault-recorder", ["healthcheck", url])
    }

    @Test(
        "SIGUSR1: the recording goes on until its stream ends, then exit 0 through all phases",
        .timeLimit(.minutes(10))
    )
    func drain() throws {
        let recorder = try record([try untilTold("live")])
        recorder.program.signal(SIGUSR1)
        _ = try recorder.program.line(containing: "Draining")
        #expect(try recorder.health().body.contains(#""status":"draining""#))
        #expect(try state("draining") == 1)
        #expect(try exporter.health().status == 200)
        #expect(try waitIdle(recorder, "0s") == 1)
        let start = try post(recorder, "/api/recording/start/live", token: "a-token")
        #expect(start.status == 503)
        recorder.program.signal(SIGUSR1)
        #expect(try recorder.active().contains(#""stream":"live""#))

        let gate = try bench.start(
            "streamvault-recorder",
            ["wait-idle", "http://127.0.0.1:\(recorder.port)", "--interval", "100ms"]
        )
        _ = try gate.line(containing: "recordings are under way: 1")
        try "".write(toFile: bench.path("end"), atomically: true, encoding: .utf8)
        #expect(try recorder.program.exitStatus() == 0, "\(recorder.program.log)")
        #expect(try gate.exitStatus() == 0, "\(gate.log)")
        #expect(recorder.announcements.last == "🎯 Application shutdown complete")
        #expect(recorder.loggedPhases.count == 6)
        #expect(!recorder.program.log.contains("hurrying"))
        let finished = #"streamvault_recordings_finished_total{recorder="cam",result="completed"}"#
        #expect(try exporter.metrics()[finished] == 1)
        #expect(try bench.playedSeconds(try bench.recordings(".ts")[0]) > 0)
    }

    @Test("SIGTERM ends a drain at once", .timeLimit(.minutes(10)))
    func drainCutShort() throws {
        let recorder = try record([try untilTold("live")])
        recorder.program.signal(SIGUSR1)
        _ = try recorder.program.line(containing: "Draining")
        #expect(try recorder.program.stop() == 0)
        let finished =
            #"streamvault_recordings_finished_total{recorder="cam",result="interrupted"}"#
        #expect(try exporter.metrics()[finished] == 1)
    }

    @Test("a drain with nothing to wait for is over at once", .timeLimit(.minutes(10)))
    func emptyDrain() throws {
        let recorder = try bench.startRecorder([TestStream.command("off", ["sleep", "600"])])
        try eventually("the start") { try recorder.active() == "[]\n" ? () : nil }
        recorder.program.signal(SIGUSR1)
        #expect(try recorder.program.exitStatus() == 0, "\(recorder.program.log)")
    }

    @Test(
        "wait-idle: 0 when idle, 1 when busy to the end, 2 when nobody is there",
        .timeLimit(.minutes(10))
    )
    func gate() throws {
        let recorder = try record([try untilTold("live")])
        #expect(try waitIdle(recorder, "300ms") == 1)
        #expect(try post(recorder, "/api/recording/stop/live", token: "wrong").status == 401)
        #expect(try post(recorder, "/api/recording/stop/live", token: "a-token").status == 202)
        #expect(try waitIdle(recorder, "60s") == 0)
        #expect(try healthcheck(recorder).status == 0)
        #expect(try recorder.program.stop() == 0)
        #expect(try waitIdle(recorder, "0s") == 2)
        let gone = try healthcheck(recorder)
        #expect(gone.status == 1)
        #expect(gone.output.contains("Connection refused"), "\(gone.output)")

        let notOne = "http://127.0.0.1:\(exporter.port)/"
        let other = try bench.run("streamvault-recorder", ["wait-idle", notOne, "--timeout", "0s"])
        #expect(other.status == 2)
        #expect(other.output.contains("404"), "\(other.output)")
    }

    @Test(
        "wait-idle: a wrong command line is one clear line and exit 64",
        arguments: [
            ([], "URL"), (["http://a", "http://b"], "URL"), (["127.0.0.1:8000"], "127.0.0.1:8000"),
            (["file:///x"], "file:///x"), (["http://a", "--timeout", "1"], "--timeout"),
            (["http://a", "--interval", "0s"], "--interval"),
            (["--no-such-flag"], "--no-such-flag"),
        ] as [([String], String)]
    )
    func wrongCommandLine(_ arguments: [String], _ words: String) throws {
        let ended = try bench.run("streamvault-recorder", ["wait-idle"] + arguments)
        #expect(ended.status == 64)
        #expect(ended.output.contains(words), "\(ended.output)")
        #expect(ended.output.split(separator: "\n").count == 1, "\(ended.output)")
    }

    @Test("a WebSocket client hears each phase up to the goodbye, 1001", .timeLimit(.minutes(10)))
    func goodbye() throws {
        let recorder = try record([
            TestStream.stubborn("slow", file: try bench.makeTransportStream())
        ])
        let script = """
            import asyncio, json, sys, websockets
            async def main():
                async with websockets.connect(sys.argv[1]) as ws:
                    print("connected", flush=True)
                    async for text in ws:
                        message = json.loads(text)
                        kind, data = message["type"], message["data"]
                        if kind == "shutdown": print(kind, data["state"], data["phase"], flush=True)
                        elif kind != "active_recordings_update": print(kind, data["status"], flush=True)
                    print(ws.close_code)
            asyncio.run(main())
            """
        let url = "ws://127.0.0.1:\(recorder.port)/ws"
        let client = try bench.start(Self.python, ["-c", script, url])
        _ = try client.line(containing: "connected")
        recorder.program.signal(SIGTERM)
        _ = try client.line(containing: "shutdown stopping recordings")
        #expect(try recorder.active().contains(#""stream":"slow""#), "the API answers to the end")
        let late = try get("http://127.0.0.1:\(recorder.port)/ws")
        #expect(late.status == 426, "and takes clients")
        #expect(try recorder.program.exitStatus() == 0, "\(recorder.program.log)")
        #expect(try client.exitStatus() == 0)
        #expect(
            client.log.split(separator: "\n").map(String.init) == [
                "connected", "shutdown stopping signal", "shutdown stopping recordings",
                "recording_stopped interrupted", "shutdown stopping broadcaster", "1001",
            ]
        )
        let outcome =
            #"streamvault_shutdown_phases_total{recorder="cam",phase="broadcaster",outcome="ok"}"#
        #expect(try exporter.metrics()[outcome] == 1)
    }

    /// The environment's own; a path that is standardized would lead out of it.
    private static let python = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("../../.venv/bin/python").path
}

/// Posts nothing to a recorder; the answer.
func post(
    _ recorder: Recorder,
    _ path: String,
    token: String
) throws -> (status: Int, body: String) {
    let options = ["-X", "POST", "-H", "Authorization: Bearer \(token)"]
    return try get("http://127.0.0.1:\(recorder.port)\(path)", options)
}
