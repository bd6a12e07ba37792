import Foundation
import StreamVaultTelemetry
import Testing

@Suite("What can go wrong at the start")
struct StartTests {
    private let bench: Workbench

    init() throws {
        bench = try Workbench()
    }

    @Test(
        "a second recorder of one name is refused, and the first goes on",
        .timeLimit(.minutes(10))
    )
    func secondOfOneName() throws {
        let first = try bench.startRecorder([TestStream.picture("one")])
        let config = try bench.configure([])
        let second = try bench.run("streamvault-recorder", ["--config", config])
        #expect(second.status == 1)
        #expect(second.output.contains("already running"))
        #expect(second.output.split(separator: "\n").count == 1)
        #expect(first.program.isRunning)
        #expect(try first.program.stop() == 0)
    }

    @Test(
        "a wrong command line is one clear line and exit 64",
        arguments: [
            ("streamvault-recorder", ["--no-such-flag"], "--no-such-flag"),
            ("streamvault-recorder", [], "--config is required"),
            (
                "streamvault-recorder", ["--config", "x", "--shutdown.grace-period", "1s"],
                "grace-period"
            ),
            ("streamvault-exporter", ["--no-such-flag"], "--no-such-flag"),
            ("streamvault-exporter", ["--health.startup-grace=soon"], "health.startup-grace"),
            ("streamvault-exporter", ["--web.listen-address", "localhost:1"], "localhost"),
            ("streamvault-exporter", ["serve"], "serve: unknown command"),
            ("streamvault-exporter", ["dump"], "dump takes one FILE"),
            ("streamvault-exporter", ["healthcheck", "a", "b"], "healthcheck takes one URL"),
        ] as [(String, [String], String)]
    )
    func wrongCommandLine(_ program: String, _ arguments: [String], _ words: String) throws {
        let ended = try bench.run(program, arguments)
        #expect(ended.status == 64)
        #expect(ended.output.contains(words), "\(ended.output)")
        #expect(ended.output.split(separator: "\n").count == 1, "\(ended.output)")
    }

    @Test(
        "a wrong configuration names the field, and nothing is half-started",
        arguments: [
            ("{recordings_dir: 1}", "recordings_dir"),
            ("{recordings_dir: \"DIR\", sterams: []}", "sterams"),
            (
                "{recordings_dir: \"DIR\", streams: [{name: \"a\", source: {type: \"hls\", url: \"ftp://x\"}}]}",
                "streams[0].source.url"
            ),
            (
                "{recordings_dir: \"DIR\", streams: [{name: \"a\", source: {type: \"command\", argv: [\"x\"]}}, {name: \"a\", source: {type: \"command\", argv: [\"x\"]}}]}",
                "streams[1].name"
            ),
            ("{recordings_dir: ", "recorder.json5"),
        ] as [(String, String)]
    )
    func wrongConfiguration(_ text: String, _ words: String) throws {
        let config = bench.path("recorder.json5")
        let filled = text.replacing("DIR", with: bench.recordingsDirectory)
        try filled.write(toFile: config, atomically: true, encoding: .utf8)
        let ended = try bench.run("streamvault-recorder", ["--config", config])
        #expect(ended.status == 78)
        #expect(ended.output.contains(words), "\(ended.output)")
        #expect(!FileManager.default.fileExists(atPath: bench.recordingsDirectory))
    }

    @Test("a configuration that cannot be read is one clear line")
    func unreadableConfiguration() throws {
        let ended = try bench.run(
            "streamvault-recorder",
            ["--config", bench.path("nowhere.json5")]
        )
        #expect(ended.status == 78)
        #expect(ended.output.contains("nowhere.json5"))
    }

    @Test("a recordings directory that cannot be written is one clear line")
    func unwritableRecordings() throws {
        let config = bench.path("recorder.json5")
        try "{recordings_dir: \"/proc/recordings\", streams: []}".write(
            toFile: config,
            atomically: true,
            encoding: .utf8
        )
        let ended = try bench.run("streamvault-recorder", ["--config", config])
        #expect(ended.status == 1)
        #expect(ended.output.contains("recordings_dir"))
        #expect(ended.output.split(separator: "\n").count == 1)
    }

    @Test("a port in use is one clear line, of either program", .timeLimit(.minutes(10)))
    func portInUse() throws {
        let exporter = try bench.startExporter()
        let address = "127.0.0.1:\(exporter.port)"
        let second = try bench.run("streamvault-exporter", ["--web.listen-address", address])
        #expect(second.status == 1)
        #expect(
            second.output.contains(address) && second.output.contains("in use"),
            "\(second.output)"
        )
        let config = try bench.configure([])
        let recorder = try bench.run(
            "streamvault-recorder",
            ["--config", config, "--web.listen-address", address]
        )
        #expect(recorder.status == 1)
        #expect(
            recorder.output.contains(address) && recorder.output.contains("in use"),
            "\(recorder.output)"
        )
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: bench.telemetryDirectory).isEmpty
        )
    }

    @Test(
        "a source's program that is not found does not stop the other streams",
        .timeLimit(.minutes(10))
    )
    func missingProgram() throws {
        let recorder = try bench.startRecorder([
            TestStream.command("broken", ["no-such-program"]), TestStream.picture("good"),
        ])
        _ = try recorder.program.line(containing: "no-such-program was not found")
        _ = try recorder.program.line(containing: "msg=\"Recording started\" stream=good")
        #expect(try recorder.program.stop() == 0, "\(recorder.program.log)")
        #expect(try bench.recordings(".ts").count == 1)
    }

    @Test(
        "a start that fails in order is no crash, wherever it fails, and says what to do about it",
        .timeLimit(.minutes(10))
    )
    func failedStart() throws {
        _ = try bench.makeDirectory("telemetry")
        let config = try bench.configure([])
        let token = bench.path("no-token")
        let recorder = Program.locate("streamvault-recorder").path
        var messages: Set<String> = []
        // Every second number of descriptors, so that the start fails at many places: at the latest for its token.
        for count in stride(from: 12, to: 46, by: 2) {
            let command =
                "ulimit -n \(count); exec \(recorder) --config \(config) --web.bearer-token-file \(token)"
            let ended = try bench.run("sh", ["-c", command])
            #expect(ended.status == 1)
            let lines = ended.output.split(separator: "\n").filter {
                $0.hasPrefix("streamvault-recorder: ")
            }
            let message = String(try #require(lines.last, "\(ended.output)"))
            #expect(lines.count == 1, "\(ended.output)")
            #expect(message.contains("LimitNOFILE=") || message.contains(token), "\(message)")
            messages.insert(message)
        }
        #expect(messages.count > 5, "\(messages)")
        var reader = SegmentReader(path: bench.telemetryDirectory + "/cam.telemetry")
        let snapshot = try reader.snapshot()
        #expect(snapshot.verdict == .ended(.degraded))
        #expect(snapshot.history.count > 5)
        #expect(snapshot.history.allSatisfy { $0.end == .degraded })
    }

    @Test("--check-config finds what a start would, and creates nothing")
    func checkConfiguration() throws {
        let config = bench.path("recorder.json5")
        let text = """
            {
              recordings_dir: "\(bench.path("no/such/recordings"))",
              log: {file: "\(bench.path("no-logs/log"))"},
              web: {
                listen_address: ["127.0.0.1:0", "unix:\(bench.path("no-sockets/api"))"],
                bearer_token_file: "\(bench.path("no-token"))",
              },
              twitch: {eventsub_secret_file: "\(bench.path("no-secret"))"},
              streams: [],
            }
            """
        try text.write(toFile: config, atomically: true, encoding: .utf8)
        let wrong = try bench.run("streamvault-recorder", ["--config", config, "--check-config"])
        #expect(wrong.status == 78)
        let fields = [
            "recordings_dir", "log.file", "web.listen_address", "web.bearer_token_file",
            "twitch.eventsub_secret_file",
        ]
        #expect(wrong.output.split(separator: "\n").count == fields.count, "\(wrong.output)")
        for field in fields { #expect(wrong.output.contains("\(field): "), "\(wrong.output)") }

        let good = try bench.configure([])
        let ended = try bench.run("streamvault-recorder", ["--config", good, "--check-config"])
        #expect(ended.status == 0, "\(ended.output)")
        #expect(!FileManager.default.fileExists(atPath: bench.recordingsDirectory))
        #expect(!FileManager.default.fileExists(atPath: bench.telemetryDirectory))
    }

    @Test("a configuration is read from a pipe, too")
    func configurationFromPipe() throws {
        let config = try bench.configure([])
        let recorder = Program.locate("streamvault-recorder").path
        let command = "cat \(config) | \(recorder) --config /dev/stdin --check-config"
        let ended = try bench.run("sh", ["-c", command])
        #expect(ended.status == 0 && ended.output.contains(": ok"), "\(ended.output)")
    }

    @Test(
        "while the catalogue cannot be opened yet, the heartbeat goes on",
        .timeLimit(.minutes(10))
    )
    func heartbeatWhileOpening() throws {
        let script = """
            import sqlite3, sys, time
            database = sqlite3.connect(sys.argv[1], isolation_level=None)
            database.execute("CREATE TABLE other (a)")
            database.execute("BEGIN EXCLUSIVE")
            print("ready", flush=True)
            time.sleep(600)
            """
        let catalogue = try bench.makeDirectory("recordings") + "/catalogue.sqlite"
        let holder = try bench.start("python3", ["-c", script, catalogue])
        _ = try holder.line(containing: "ready")
        _ = try bench.makeDirectory("telemetry")
        let config = try bench.configure([])
        let recorder = try bench.start("streamvault-recorder", ["--config", config])
        var reader = SegmentReader(path: bench.telemetryDirectory + "/cam.telemetry")
        var beats: Set<String> = []
        try eventually("the start") {
            if let snapshot = try? reader.snapshot() { beats.insert("\(snapshot.heartbeat)") }
            return recorder.log.contains("Recorder started") ? () : nil
        }
        #expect(beats.count >= 3, "SQLite waits for five seconds")
        #expect(try recorder.stop() == 0)
    }

    @Test("SIGTERM gets through, also when the parent had blocked it", .timeLimit(.minutes(10)))
    func blockedSignals() throws {
        let recorder = try bench.startRecorder([TestStream.picture("one")], isDeaf: true)
        _ = try recorder.program.line(containing: "Recording started")
        #expect(try recorder.program.stop() == 0)
        #expect(try bench.recordings(".ts").count == 1)
    }

    @Test(
        "SIGTERM does not wait for a catalogue that another program holds",
        .timeLimit(.minutes(10))
    )
    func lockedCatalogue() throws {
        let catalogue = "\(try bench.makeDirectory("recordings"))/catalogue.sqlite"
        #expect(FileManager.default.createFile(atPath: catalogue, contents: nil))
        let file = try #require(FileHandle(forUpdatingAtPath: catalogue))
        defer { try? file.close() }
        // The bytes that SQLite locks (its file format, section 1.4).
        var lock = flock(
            l_type: Int16(F_WRLCK),
            l_whence: Int16(SEEK_SET),
            l_start: 0x4000_0000,
            l_len: 512,
            l_pid: 0
        )
        try #require(unsafe fcntl(file.fileDescriptor, F_SETLK, &lock) == 0)
        _ = try bench.makeDirectory("telemetry")
        let config = try bench.configure([TestStream.picture("one")])
        let recorder = try bench.start("streamvault-recorder", ["--config", config])
        let segment = "\(bench.telemetryDirectory)/cam.telemetry"
        try eventually("segment") { FileManager.default.fileExists(atPath: segment) ? true : nil }
        #expect(try recorder.stop() == 0)
        _ = try recorder.line(containing: "Signal received before the catalogue was open")
    }

    @Test("telemetry that cannot be published does not cost a recording", .timeLimit(.minutes(10)))
    func noTelemetry() throws {
        let flags = ["--telemetry-dir", "/proc/no-such-directory"]
        let recorder = try bench.startRecorder([TestStream.picture("one")], flags)
        _ = try recorder.program.line(containing: "Telemetry is impaired")
        _ = try recorder.program.line(containing: "Recording started")
        #expect(try recorder.program.stop() == 0)
        #expect(try bench.recordings(".ts").count == 1)
    }
}
