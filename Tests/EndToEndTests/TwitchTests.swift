import Foundation
import Testing

/// Twitch's webhook at a whole recorder, signed by Python's hmac.
@Suite("Twitch switches a recorder's streams", .serialized)
struct TwitchTests {
    private let bench: Workbench
    private let exporter: Exporter

    init() throws {
        bench = try Workbench()
        exporter = try bench.startExporter()
        _ = try writeSecret("a-webhook-secret\n", to: "secret")
    }

    /// Writes a file that only its owner may read, unless `mode` says more; its path.
    private func writeSecret(_ text: String, to name: String, mode: mode_t = 0o600) throws -> String
    {
        let path = bench.path(name)
        try text.write(toFile: path, atomically: true, encoding: .utf8)
        try #require(chmod(path, mode) == 0)
        return path
    }

    private func start() throws -> Recorder {
        let stream = TestStream.picture("gate", fields: #"broadcaster_id: "1337""#)
        let fields = #"twitch: {eventsub_secret_file: "\#(bench.path("secret"))"}"#
        let recorder = try bench.startRecorder([stream], fields: fields)
        try eventually("the start") { try recorder.active() == "[]\n" ? () : nil }
        return recorder
    }

    /// Posts a notification as Twitch does; the status.
    private func deliver(
        _ event: String,
        id: String,
        to recorder: Recorder,
        secret: String = "a-webhook-secret",
        age: Int = 0
    ) throws -> Int {
        let script = """
            import datetime, hmac, http.client, json, sys
            port, secret, event, id, age = sys.argv[1:]
            time = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=int(age))
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"
            body = json.dumps({"subscription": {"type": event}, "event": {"broadcaster_user_id": "1337"}})
            signature = hmac.new(secret.encode(), (id + stamp + body).encode(), "sha256").hexdigest()
            client = http.client.HTTPConnection("127.0.0.1", int(port), timeout=20)
            client.request("POST", "/eventsub", body, {
                "Twitch-Eventsub-Message-Id": id, "Twitch-Eventsub-Message-Timestamp": stamp,
                "Twitch-Eventsub-Message-Type": "notification",
                "Twitch-Eventsub-Message-Signature": "sha256=" + signature})
            print(client.getresponse().status)
            """
        let words = ["-c", script, "\(recorder.port)", secret, event, id, "\(age)"]
        let output = try bench.run("python3", words).output
        return Int(output.trimmingCharacters(in: .whitespacesAndNewlines)) ?? 0
    }

    private func count(_ type: String, _ result: String) throws -> Double? {
        let labels = #"recorder="cam",type="\#(type)",result="\#(result)""#
        return try exporter.metrics()["streamvault_eventsub_messages_total{\(labels)}"]
    }

    private func waitForRecording(_ recorder: Recorder, _ isThere: Bool) throws {
        try eventually("a recording: \(isThere)") {
            try recorder.active().contains(#""stream":"gate""#) == isThere ? () : nil
        }
    }

    @Test(
        "online records, offline completes; a replay does nothing, also after a crash",
        .timeLimit(.minutes(10))
    )
    func replay() throws {
        let recorder = try start()
        #expect(
            try deliver("stream.online", id: "a", to: recorder, secret: "another-secret") == 403
        )
        #expect(try deliver("stream.online", id: "a", to: recorder, age: 601) == 403)
        #expect(try deliver("stream.online", id: "a", to: recorder) == 204)
        try waitForRecording(recorder, true)
        #expect(try deliver("stream.offline", id: "b", to: recorder) == 204)
        try waitForRecording(recorder, false)
        #expect(try bench.recordings(".ts").count == 1)
        recorder.program.kill()

        let next = try start()
        #expect(try deliver("stream.online", id: "a", to: next) == 204)
        try eventually("the duplicate is known") {
            try count("stream.online", "duplicate") == 1 ? () : nil
        }
        #expect(try count("stream.online", "accepted") == 1)
        #expect(try count("unverified", "refused") == 2)
        #expect(try next.active() == "[]\n")
        #expect(try deliver("stream.online", id: "c", to: next) == 204)
        try waitForRecording(next, true)
        #expect(try next.program.stop() == 0, "\(next.program.log)")
        for file in try bench.recordings(".ts") { #expect(try bench.playedSeconds(file) > 0) }
    }

    @Test(
        "a message that cannot be worked off overruns its phase, and the recorder ends in time",
        .timeLimit(.minutes(10))
    )
    func hanging() throws {
        let recorder = try start()
        // Holds the catalogue's lock: the thread that works off messages waits for it.
        let script = """
            import sqlite3, sys, time
            connection = sqlite3.connect(sys.argv[1], isolation_level=None)
            connection.execute("BEGIN IMMEDIATE")
            print("locked", flush=True)
            time.sleep(600)
            """
        let catalogue = "\(bench.recordingsDirectory)/catalogue.sqlite"
        let holder = try bench.start("python3", ["-c", script, catalogue])
        _ = try holder.line(containing: "locked")
        #expect(try deliver("stream.offline", id: "a", to: recorder) == 204)
        recorder.program.signal(SIGTERM)
        _ = try recorder.program.line(containing: "❌ Error stopping eventsub: timeout")
        _ = try recorder.program.line(containing: "🔄 Closing database connections...")
        _ = try recorder.program.exitStatus()
        #expect(recorder.program.log.contains("🎯 Application shutdown complete"))
        let outcome =
            #"streamvault_shutdown_phases_total{recorder="cam",phase="eventsub",outcome="timeout"}"#
        #expect(try exporter.metrics()[outcome] == 1)
        holder.kill()
    }

    @Test(
        "a secret that is missing or unfit is one clear line, without the secret",
        arguments: [
            ("", "eventsub_secret_file: is required"), ("eventsub_secret_file: \"/none\"", "/none"),
            ("eventsub_secret_file: \"SHORT\"", "10 to 100"),
            ("eventsub_secret_file: \"BLANK\"", "visible ASCII"),
        ] as [(String, String)]
    )
    func secrets(_ field: String, _ words: String) throws {
        let short = try writeSecret("tooshort", to: "short")
        let blank = try writeSecret("a secret of words", to: "blank")
        let filled = field.replacing("SHORT", with: short).replacing("BLANK", with: blank)
        let config = try bench.configure([], fields: "twitch: {\(filled)}")
        let ended = try bench.run("streamvault-recorder", ["--config", config])
        #expect(ended.status == 1)
        #expect(ended.output.contains(words), "\(ended.output)")
        #expect(ended.output.split(separator: "\n").count == 1, "\(ended.output)")
        #expect(!ended.output.contains("tooshort") && !ended.output.contains("of words"))
    }

    @Test("a secret that all users can read is a line more, a warning, without the secret")
    func shared() throws {
        let path = try writeSecret("tooshort", to: "shared", mode: 0o644)
        let config = try bench.configure([], fields: #"twitch: {eventsub_secret_file: "\#(path)"}"#)
        let ended = try bench.run("streamvault-recorder", ["--config", config])
        let lines = ended.output.split(separator: "\n")
        #expect(lines.count == 2, "\(ended.output)")
        let warning = try #require(lines.first { $0.contains("readable by all users") })
        #expect(warning.contains("level=warn") && warning.contains("file=\(path)"))
        #expect(!ended.output.contains("tooshort"))
    }
}
