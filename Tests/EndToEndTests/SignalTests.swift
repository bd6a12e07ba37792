import Foundation
import Testing

@Suite(
    "Signals, terminals and descriptors, as shells, service managers and logrotate give them",
    .timeLimit(.minutes(10))
)
struct SignalTests {
    private let bench: Workbench

    /// All that end or suspend a process by default, but for those that ask for something, and faults.
    private static let strayed =
        [
            SIGPIPE, SIGALRM, SIGUSR2, SIGSTKFLT, SIGXCPU, SIGXFSZ, SIGVTALRM, SIGPROF, SIGIO,
            SIGPWR, SIGTSTP, SIGTTIN, SIGTTOU,
        ] + Array(32...64)

    init() throws {
        bench = try Workbench()
    }

    @Test("a signal that asks for nothing ends neither program, nor cuts a recording")
    func strays() throws {
        let recorder = try bench.startRecorder([TestStream.picture("one")])
        let exporter = try bench.startExporter()
        _ = try recorder.program.line(containing: "Recording started")
        for signal in Self.strayed { recorder.program.signal(signal) }
        for signal in Self.strayed + [SIGUSR1] { exporter.program.signal(signal) }
        #expect(try recorder.health().status == 200)
        #expect(try exporter.health().status == 200)
        #expect(try recorder.program.stop() == 0)
        #expect(try exporter.program.stop() == 0)
        #expect(try bench.recordings(".ts").count == 1)
    }

    @Test("nor does it change a shutdown that is under way")
    func straysInShutdown() throws {
        let file = try bench.makeTransportStream()
        let recorder = try bench.startRecorder(
            [TestStream.stubborn("one", file: file)],
            ["--shutdown.grace-period", "10s"]
        )
        _ = try recorder.program.line(containing: "Recording started")
        recorder.program.signal(SIGTERM)
        _ = try recorder.program.line(containing: "📹 Stopping active recording for stream one...")
        for signal in Self.strayed + [SIGHUP] { recorder.program.signal(signal) }
        #expect(try recorder.program.exitStatus() == 0)
        #expect(!recorder.program.log.contains("Second signal"), "\(recorder.program.log)")
        #expect(recorder.program.log.contains("🎯 Application shutdown complete"))
    }

    @Test("SIGQUIT stops both programs in an orderly way")
    func quit() throws {
        let recorder = try bench.startRecorder([TestStream.picture("one")])
        let exporter = try bench.startExporter()
        _ = try recorder.program.line(containing: "Recording started")
        recorder.program.signal(SIGQUIT)
        exporter.program.signal(SIGQUIT)
        #expect(try recorder.program.exitStatus() == 0)
        #expect(try exporter.program.exitStatus() == 0)
        #expect(try bench.recordings(".ts").count == 1)
    }

    @Test("SIGHUP opens the log file anew, ends no recording, and ends no exporter")
    func reload() throws {
        let log = bench.path("recorder.log")
        let recorder = try bench.startRecorder([TestStream.picture("one")], ["--log.file", log])
        let exporter = try bench.startExporter()
        _ = try recorder.program.line(containing: "Recording started")
        try FileManager.default.moveItem(atPath: log, toPath: log + ".1")
        recorder.program.signal(SIGHUP)
        exporter.program.signal(SIGHUP)
        try eventually("the new log file") {
            try content(log).contains("Reload requested") ? () : nil
        }
        #expect(try content(log + ".1").contains("Recording started"))
        _ = try exporter.program.line(containing: "Nothing to reload")
        #expect(try recorder.program.stop() == 0)
        #expect(try exporter.program.stop() == 0)
        #expect(try content(log).contains("🎯 Application shutdown complete"))
        #expect(try bench.recordings(".ts").count == 1)
    }

    @Test("SIGHUP that nohup ignores stays ignored", arguments: [true, false])
    func ignored(isRecorder: Bool) throws {
        let started = try start(isRecorder, through: #"trap '' HUP; exec "$0" "$@""#)
        started.signal(SIGHUP)
        #expect(try started.stop() == 0)
        #expect(
            !started.log.contains("reload") && !started.log.contains("Reload"),
            "\(started.log)"
        )
    }

    @Test(
        "a terminal that closes shuts down both programs in an orderly way",
        arguments: [true, false]
    )
    func hangup(isRecorder: Bool) throws {
        let terminal = try startInTerminal(isRecorder, "close")
        #expect(try terminal.line(containing: "status", within: 60) == "status 0")
        if isRecorder { #expect(try bench.recordings(".ts").count == 1) }
    }

    @Test(
        "a SIGHUP from a terminal that stays open is only a request to reload",
        arguments: [true, false]
    )
    func hangupWithTerminal(isRecorder: Bool) throws {
        let terminal = try startInTerminal(isRecorder, "reload")
        #expect(try terminal.line(containing: "status", within: 60) == "status 0")
        #expect(terminal.log.contains("reloaded"))
    }

    @Test(
        "programs that are started without standard descriptors work, and hear SIGTERM",
        arguments: ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"],
        [true, false]
    )
    func closedDescriptors(_ closed: String, isRecorder: Bool) throws {
        let started = try start(isRecorder, through: #"exec "$0" "$@" \#(closed)"#)
        #expect(try started.stop() == 0)
        if isRecorder { #expect(try bench.recordings(".ts").count == 1) }
    }

    @Test("a log file that is a FIFO without a reader holds up neither the start nor the end")
    func fifo() throws {
        let fifo = bench.path("fifo")
        try #require(mkfifo(fifo, 0o600) == 0)
        let recorder = try bench.startRecorder([TestStream.picture("one")], ["--log.file", fifo])
        _ = try recorder.program.line(containing: "Recording started")
        #expect(try recorder.program.stop() == 0)
        #expect(recorder.program.log.contains("🎯 Application shutdown complete"))
    }

    @Test("lines wait for a reader that hangs, and hold up nobody", arguments: [true, false])
    func hangingReader(isRecorder: Bool) throws {
        let fifo = bench.path("fifo")
        try #require(mkfifo(fifo, 0o600) == 0)
        let reader = try #require(
            Optional(open(fifo, O_RDWR | O_NONBLOCK | O_CLOEXEC)).filter { $0 >= 0 }
        )
        defer { close(reader) }
        while write(reader, String(repeating: "-", count: 4095) + "\n", 4096) > 0 {}
        let started = try start(isRecorder, through: #"exec "$0" "$@" >\#(fifo)"#)
        var text = ""
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        try eventually("the first line") {
            let count = read(reader, &buffer, buffer.count)
            if count > 0 { text += String(decoding: buffer[..<count], as: UTF8.self) }
            return text.contains("started") ? () : nil
        }
        #expect(!text.contains("Log lines dropped"))
        #expect(try started.stop() == 0)
    }

    /// Starts one of the programs through a shell, and waits until it serves, or records.
    private func start(_ isRecorder: Bool, through shell: String) throws -> Program {
        let words = try isRecorder ? recorderWords() : exporterWords()
        let program = try bench.start("sh", ["-c", shell] + words)
        if isRecorder {
            try eventually("a recording") { try bench.recordings(".part").isEmpty ? nil : () }
        } else {
            try eventually("an answer") {
                try get("http://exporter/livez", ["--unix-socket", bench.path("socket")]).status
                    == 200
                    ? () : nil
            }
        }
        return program
    }

    private func startInTerminal(_ isRecorder: Bool, _ end: String) throws -> Program {
        let script = """
            import os, pty, signal, sys
            end, started = sys.argv[1:3]
            child, terminal = pty.fork()
            if child == 0:
                os.execv(sys.argv[3], sys.argv[3:])
            seen = b""
            def wait_for(text):
                global seen
                while text not in seen:
                    seen += os.read(terminal, 4096)
            wait_for(started.encode())
            if end == "reload":
                os.kill(child, signal.SIGHUP)
                wait_for(b"eload")
                print("reloaded")
                os.kill(child, signal.SIGTERM)
                try:
                    while os.read(terminal, 4096): pass
                except OSError: pass
            os.close(terminal)
            print("status", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
            """
        let words = try isRecorder ? recorderWords() : exporterWords()
        let started = isRecorder ? "Recording started" : "Exporter started"
        return try bench.start("python3", ["-c", script, end, started] + words)
    }

    private func recorderWords() throws -> [String] {
        _ = try bench.makeDirectory("telemetry")
        _ = try bench.makeDirectory("recordings")
        let config = try bench.configure([TestStream.picture("one")])
        return [Program.locate("streamvault-recorder").path, "--config", config]
    }

    private func exporterWords() throws -> [String] {
        _ = try bench.makeDirectory("telemetry")
        return [
            Program.locate("streamvault-exporter").path, "--telemetry-dir",
            bench.telemetryDirectory, "--web.listen-address", "unix:\(bench.path("socket"))",
            "--linger.max", "0s",
        ]
    }

    private func content(_ path: String) throws -> String {
        FileManager.default.fileExists(atPath: path)
            ? try String(contentsOfFile: path, encoding: .utf8) : ""
    }
}

extension Optional {
    fileprivate func filter(_ isWanted: (Wrapped) -> Bool) -> Wrapped? {
        flatMap { isWanted($0) ? $0 : nil }
    }
}
