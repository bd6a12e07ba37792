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
        _ = try recorder.line(containing: "Catalogue not open yet, told to end")
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
