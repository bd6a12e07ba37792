import Foundation
import Testing

/// What others do to the telemetry directory while the programs run, as they are run.
@Suite("A telemetry directory that others change", .serialized, .timeLimit(.minutes(10)))
struct SurroundingsTests {
    /// A change by a shell, with the directory as `$1` and the file as `$2`; and the cause that is counted for it.
    struct Change: Sendable, CustomTestStringConvertible {
        let cause: String
        let script: String

        var testDescription: String { script }
    }

    static let changes = [
        Change(cause: "truncated", script: ": >\"$2\""),
        Change(cause: "truncated", script: "truncate -s -1 \"$2\""),
        Change(cause: "truncated", script: "truncate -s 100000 \"$2\"; truncate -s 1M \"$2\""),
        Change(cause: "removed", script: "rm -rf \"$1\""),
        Change(cause: "removed", script: "mv \"$1\" \"$1\".old; mkdir \"$1\""),
        Change(cause: "replaced", script: "rm \"$2\"; mkfifo \"$2\""),
        Change(cause: "replaced", script: "cp \"$2\" \"$1\"/x; mv \"$1\"/x \"$2\""),
    ]

    @Test("the recorder records on, and the exporter finds it again", arguments: changes)
    func recorder(change: Change) throws {
        let bench = try Workbench()
        let source = ["sh", "-c", "while :; do cat \(bench.path("media")); sleep 0.1; done"]
        try Data(repeating: 0x47, count: 188 * 100).write(to: URL(filePath: bench.path("media")))
        let recorder = try bench.startRecorder([TestStream.command("gate", source)])
        let exporter = try bench.startExporter()
        let written = try eventually("media") { try Self.written(exporter, moreThan: 0) }
        let file = bench.telemetryDirectory + "/cam.telemetry"
        let arguments = ["-c", change.script, "sh", bench.telemetryDirectory, file]
        #expect(try bench.run("sh", arguments).status == 0)
        let name = "streamvault_telemetry_republished_total"
        let counter = "\(name){recorder=\"cam\",cause=\"\(change.cause)\"}"
        try eventually("published again") { try exporter.metrics()[counter] == 1 ? true : nil }
        try eventually("more media") { try Self.written(exporter, moreThan: written) }
        #expect(try exporter.health().status == 200)
        #expect(recorder.program.isRunning)
        let lines = recorder.program.log.components(
            separatedBy: "msg=\"Telemetry published again\""
        )
        #expect(lines.count == 2, "one line says so")
    }

    @Test("a directory that appears late is published into")
    func late() throws {
        let bench = try Workbench()
        let config = try bench.configure([TestStream.command("gate", ["sleep", "600"])])
        let directory = bench.path("volume/telemetry")
        let flags = ["--config", config, "--telemetry-dir", directory]
        let recorder = try bench.start("streamvault-recorder", flags)
        _ = try recorder.line(containing: "telemetry is not published")
        try FileManager.default.createDirectory(
            atPath: directory,
            withIntermediateDirectories: true
        )
        _ = try recorder.line(containing: "msg=\"Telemetry published again\" cause=late")
        let dump = try bench.run("streamvault-exporter", ["dump", directory + "/cam.telemetry"])
        #expect(dump.status == 0)
        #expect(dump.output.contains("\"alive\""))
        #expect(try recorder.stop() == 0)
    }

    @Test(
        "an exporter that publishes for others lives on, and its socket is made again",
        arguments: [changes[0], changes[3], changes[4]]
    )
    func ingest(change: Change) throws {
        let bench = try Workbench()
        let socket = bench.telemetryDirectory + "/s"
        let exporter = try bench.startExporter(["--linger.max", "0s", "--ingest.socket", socket])
        let script = """
            import json, socket, sys, time
            client = socket.socket(socket.AF_UNIX)
            client.connect(sys.argv[1])
            def say(**message): client.sendall((json.dumps(message) + "\\n").encode())
            say(type="hello", name=sys.argv[2])
            say(type="declare", metric="counter", name="app_total", help="Counted.")
            while True:
                say(type="add", name="app_total", value=1)
                time.sleep(0.05)
            """
        _ = try bench.start("python3", ["-c", script, socket, "first"])
        let counted = try eventually("counts") { try Self.counted("first", exporter, moreThan: 0) }
        let file = bench.telemetryDirectory + "/first.telemetry"
        let arguments = ["-c", change.script, "sh", bench.telemetryDirectory, file]
        #expect(try bench.run("sh", arguments).status == 0)
        let name = "streamvault_exporter_ingest_segments_republished_total"
        let counter = "\(name){cause=\"\(change.cause)\"}"
        try eventually("published again") { try exporter.metrics()[counter] == 1 ? true : nil }
        try eventually("more counts") { try Self.counted("first", exporter, moreThan: counted) }
        try eventually("the socket") {
            FileManager.default.fileExists(atPath: socket) ? true : nil
        }
        _ = try bench.start("python3", ["-c", script, socket, "second"])
        try eventually("another client") { try Self.counted("second", exporter, moreThan: 0) }
        #expect(exporter.program.isRunning)
    }

    private static func written(_ exporter: Exporter, moreThan bytes: Double) throws -> Double? {
        let value = try exporter.metrics()["streamvault_written_bytes_total{recorder=\"cam\"}"]
        return value.flatMap { $0 > bytes ? $0 : nil }
    }

    private static func counted(
        _ recorder: String,
        _ exporter: Exporter,
        moreThan count: Double
    ) throws -> Double? {
        let value = try exporter.metrics()["app_total{recorder=\"\(recorder)\"}"]
        return value.flatMap { $0 > count ? $0 : nil }
    }
}
