import Foundation
import Testing

/// The exporter's ingest socket, spoken to by the examples of the documentation, which are other people's programs.
@Suite("Processes in other languages", .serialized, .timeLimit(.minutes(10)))
struct IngestTests {
    private let bench: Workbench
    private let exporter: Exporter

    init() throws {
        bench = try Workbench()
        exporter = try bench.startExporter(Self.flags(bench))
    }

    private static func flags(_ bench: Workbench, resumeGrace: String = "60s") -> [String] {
        [
            "--linger.max", "0s", "--ingest.socket", bench.path("ingest.sock"),
            "--ingest.resume-grace", resumeGrace,
        ]
    }

    private static let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("../..").standardizedFileURL.path

    /// bash and socat; the command at its end goes on until `endCommand`, or fails at once.
    private func startShell(failing: Bool = false) throws -> Program {
        let command = failing ? "exit 3" : "while [ ! -e \"$1\".go ]; do sleep 0.05; done"
        let script = """
            exec "$1" "$2" "$3" sh -c '\(command)' sh < <(while echo media; do sleep 0.05; done 2>/dev/null)
            """
        return try bench.start(
            "bash",
            [
                "-c", script, "bash", "\(Self.package)/examples/ingest.sh",
                bench.path("ingest.sock"), bench.path("media"),
            ]
        )
    }

    /// Lets the command end that the shell script runs at its end.
    private func endCommand() throws {
        try "".write(toFile: bench.path("media.go"), atomically: true, encoding: .utf8)
    }

    private func startPython(seconds: Double, budget: Double) throws -> Program {
        try bench.start(
            "python3",
            [
                "\(Self.package)/examples/ingest_asyncio.py", bench.path("ingest.sock"),
                "\(seconds)", "\(budget)",
            ]
        )
    }

    /// All samples of a recorder as the Python client reads them: `name` and the other labels' values.
    private func samples(_ recorder: String, of exporter: Exporter) throws -> [String: Double] {
        let script = """
            import sys, urllib.request
            from prometheus_client.parser import text_string_to_metric_families as parse
            for family in parse(urllib.request.urlopen(sys.argv[1]).read().decode()):
                for sample in family.samples:
                    if sample.labels.pop("recorder", "") == sys.argv[2]:
                        print(" ".join([sample.name, *sample.labels.values()]), sample.value, sep="=")
            """
        let address = "http://127.0.0.1:\(exporter.port)/metrics"
        let output = try bench.run(
            "\(Self.package)/.venv/bin/python",
            ["-c", script, address, recorder]
        ).output
        return Dictionary(
            output.split(separator: "\n").map { line in
                let parts = line.split(separator: "=")
                return (String(parts[0]), parts.count == 2 ? Double(parts[1]) ?? .nan : .nan)
            },
            uniquingKeysWith: { _, last in last }
        )
    }

    /// Waits until a sample has a value.
    private func wait(
        for sample: String,
        _ value: Double,
        of recorder: String,
        at exporter: Exporter? = nil
    ) throws {
        let exporter = exporter ?? self.exporter
        try eventually("\(sample) \(value) of \(recorder)", within: 30) {
            try samples(recorder, of: exporter)[sample] == value ? () : nil
        }
    }

    private func shutdowns() throws -> String {
        try get("http://127.0.0.1:\(exporter.port)/shutdowns").body
    }

    @Test("a shell script: its recording grows, its shutdown is clean")
    func shellClean() throws {
        let shell = try startShell()
        try wait(for: "streamvault_recorder_state recording", 1, of: "shell")
        try wait(for: "streamvault_recordings_active", 1, of: "shell")
        try eventually("media") {
            try samples("shell", of: exporter)["streamvault_recording_written_bytes stdin"] ?? 0
                > 100
                ? () : nil
        }
        shell.signal(SIGTERM)
        try wait(for: "streamvault_shutdown_phase_active command", 1, of: "shell")
        let health = try exporter.health()
        #expect(health.status == 200)
        #expect(health.body.contains("\"phase\":\"command\""))
        try endCommand()
        #expect(try shell.exitStatus() == 0, "\(shell.log)")
        try wait(for: "streamvault_shutdowns_total clean", 1, of: "shell")
        let last = try samples("shell", of: exporter)
        #expect(last["streamvault_recordings_finished_total interrupted"] == 1)
        #expect(last["streamvault_shutdown_phases_total copy ok"] == 1)
        #expect(last["streamvault_shutdown_phases_total command ok"] == 1)
        #expect(last["streamvault_crashes_total"] == 0)
        #expect(try shutdowns().contains("\"outcome\":\"clean\""))
        #expect(shell.log.isEmpty, "nothing was refused: \(shell.log)")
    }

    @Test("a shell script that is killed in a phase, and one whose phase fails")
    func shellKilled() throws {
        let shell = try startShell()
        try wait(for: "streamvault_recorder_state recording", 1, of: "shell")
        shell.signal(SIGTERM)
        try wait(for: "streamvault_shutdown_phase_active command", 1, of: "shell")
        shell.signal(SIGKILL)
        try wait(for: "streamvault_shutdowns_total killed", 1, of: "shell")
        try endCommand()  // It is an orphan now.
        #expect(
            try samples("shell", of: exporter)["streamvault_shutdown_phases_total command killed"]
                == 1
        )
        #expect(try shutdowns().contains("\"fatal_phase\":\"command\""))
        #expect(try exporter.health().status == 503)

        let next = try startShell(failing: true)
        try wait(for: "streamvault_recorder_state recording", 1, of: "shell")
        next.signal(SIGTERM)
        #expect(try next.exitStatus() == 3)
        try wait(for: "streamvault_shutdowns_total degraded", 1, of: "shell")
        let last = try samples("shell", of: exporter)
        #expect(last["streamvault_shutdowns_total killed"] == 1, "carried forward")
        #expect(last["streamvault_shutdown_phases_total command error"] == 1)
        #expect(last["streamvault_recorder_runs_total"] == 2)
    }

    @Test("an asyncio program: clean, degraded, killed, crashed; what it counted goes on")
    func python() throws {
        func stopped(_ status: Int32) { #expect(status == 0) }
        func live(_ seconds: Double, _ budget: Double, _ end: (Program) throws -> Void) throws {
            let program = try startPython(seconds: seconds, budget: budget)
            try wait(for: "streamvault_recorder_up", 1, of: "asyncio")
            try program.ticked(exporter)
            try end(program)
        }
        try live(0, 60) { stopped(try $0.stop()) }
        try wait(for: "streamvault_shutdowns_total clean", 1, of: "asyncio")
        try live(60, 0.2) { stopped(try $0.stop()) }
        try wait(for: "streamvault_shutdowns_total degraded", 1, of: "asyncio")
        try live(60, 60) {
            $0.signal(SIGTERM)
            try wait(for: "streamvault_shutdown_phase_active connections", 1, of: "asyncio")
            $0.kill()
        }
        try wait(for: "streamvault_shutdown_phases_total connections killed", 1, of: "asyncio")
        try live(60, 60) { $0.kill() }
        try wait(for: "streamvault_crashes_total", 1, of: "asyncio")
        let last = try samples("asyncio", of: exporter)
        #expect(last["streamvault_recorder_runs_total"] == 4)
        #expect(last["streamvault_shutdown_phases_total connections timeout"] == 1)
        #expect(last["streamvault_shutdown_phases_total upload timeout"] == 1)
        #expect(last["streamvault_shutdown_phases_total upload ok"] == 1)
        #expect(last["demo_ticks_total"] ?? 0 >= 4)
    }

    @Test("two programs at a time are two recorders")
    func two() throws {
        let python = try startPython(seconds: 0, budget: 60)
        let shell = try startShell()
        try wait(for: "streamvault_recorder_up", 1, of: "asyncio")
        try wait(for: "streamvault_recorder_up", 1, of: "shell")
        #expect(try python.stop() == 0)
        try wait(for: "streamvault_recorder_state stopped", 1, of: "asyncio")
        try wait(for: "streamvault_recorder_state recording", 1, of: "shell")
        try endCommand()
        #expect(try shell.stop() == 0)
    }

    @Test(
        "an exporter that is restarted: the process comes back as the same run, and no crash is counted",
        arguments: [SIGKILL, SIGTERM]
    )
    func restart(_ signal: Int32) throws {
        let python = try startPython(seconds: 0, budget: 60)
        try wait(for: "streamvault_recorder_up", 1, of: "asyncio")
        try python.ticked(exporter)
        exporter.program.signal(signal)
        _ = try exporter.program.exitStatus()
        let next = try bench.startExporter(Self.flags(bench))
        #expect(
            try samples("asyncio", of: next)["streamvault_recorder_up"] == 1,
            "it is waited for"
        )
        #expect(try next.health().status == 200)
        _ = try next.program.line(containing: "recorder=asyncio resumed=true")
        try python.ticked(next)
        #expect(try python.stop() == 0)
        try wait(for: "streamvault_shutdowns_total clean", 1, of: "asyncio", at: next)
        let last = try samples("asyncio", of: next)
        #expect(last["streamvault_crashes_total"] == 0)
        #expect(last["streamvault_recorder_runs_total"] == 1)
    }

    @Test("a process that dies while the exporter is away is dead when nobody comes back")
    func diedMeanwhile() throws {
        let python = try startPython(seconds: 0, budget: 60)
        try wait(for: "streamvault_recorder_up", 1, of: "asyncio")
        exporter.program.kill()
        python.kill()
        let next = try bench.startExporter(Self.flags(bench, resumeGrace: "1s"))
        try wait(for: "streamvault_crashes_total", 1, of: "asyncio", at: next)
        try eventually("503") { try next.health().status == 503 ? () : nil }
    }

    @Test("a start without a directory to write to says so")
    func noDirectory() throws {
        let ended = try bench.run(
            "streamvault-exporter",
            [
                "--web.listen-address", "127.0.0.1:0", "--telemetry-dir", "/proc/nowhere",
                "--ingest.socket", bench.path("other.sock"),
            ]
        )
        #expect(ended.status == 1)
        let complaint = "telemetry-dir must be writable for ingest.socket: mkdir /proc/nowhere"
        #expect(ended.output.contains(complaint), "\(ended.output)")
    }

    @Test("the socket of an exporter that lives is not taken")
    func socketTaken() throws {
        let flags = [
            "--web.listen-address", "127.0.0.1:0", "--telemetry-dir", bench.telemetryDirectory,
        ]
        let socket = bench.path("ingest.sock")
        let ended = try bench.run("streamvault-exporter", flags + ["--ingest.socket", socket])
        #expect(ended.status == 1)
        #expect(
            ended.output.contains("ingest.socket: bind unix:\(socket): Address already in use"),
            "\(ended.output)"
        )
        _ = try exporter.program.stop()
        #expect(!FileManager.default.fileExists(atPath: socket), "it is removed at the end")
    }
}

extension Program {
    /// Waits until the asyncio example has said something since now.
    fileprivate func ticked(_ exporter: Exporter) throws {
        let series = "demo_ticks_total{recorder=\"asyncio\"}"
        let before = try exporter.metrics()[series] ?? 0
        try eventually("a tick") { try exporter.metrics()[series] ?? 0 > before ? () : nil }
    }
}
