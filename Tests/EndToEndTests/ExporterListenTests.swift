import Foundation
import Testing

@Suite("Where the exporter listens, and how it is asked", .timeLimit(.minutes(10)))
struct ExporterListenTests {
    private let bench: Workbench

    init() throws {
        bench = try Workbench()
    }

    private var socket: String { bench.path("exporter.sock") }

    private func startOnSocket() throws -> Program {
        let program = try bench.start(
            "streamvault-exporter",
            ["--telemetry-dir", bench.directory.path, "--web.listen-address", "unix:\(socket)"]
        )
        _ = try program.line(containing: "Exporter started")
        return program
    }

    private func curl(_ path: String) throws -> String {
        let arguments = [
            "-s", "--max-time", "10", "--unix-socket", socket, "http://localhost\(path)",
        ]
        return try bench.run("curl", arguments).output
    }

    @Test("a local socket serves, outlives a kill, refuses a second server, and goes at the end")
    func localSocket() throws {
        let first = try startOnSocket()
        #expect(try curl("/livez") == "ok")
        #expect(try curl("/metrics").contains("streamvault_exporter_build_info"))
        first.kill()
        #expect(FileManager.default.fileExists(atPath: socket), "a killed server leaves it")

        let second = try startOnSocket()
        #expect(try curl("/-/ready") == "ok\n")
        let third = try bench.run(
            "streamvault-exporter",
            ["--web.listen-address", "unix:\(socket)"]
        )
        #expect(third.status == 1)
        #expect(third.output.contains("unix:\(socket): Address already in use"))
        #expect(third.output.split(separator: "\n").count == 1)
        #expect(try curl("/-/ready") == "ok\n", "the second serves on")
        #expect(try second.stop() == 0)
        #expect(!FileManager.default.fileExists(atPath: socket))
    }

    @Test("the token's file guards a real server")
    func token() throws {
        let file = bench.path("token")
        let none = try bench.run(
            "streamvault-exporter",
            ["--web.bearer-token-file", file, "--web.listen-address", "127.0.0.1:0"]
        )
        #expect(none.status == 1)
        #expect(none.output.contains("bearer-token-file") && none.output.contains(file))
        try "s3cret\n".write(toFile: file, atomically: true, encoding: .utf8)
        let program = try bench.start(
            "streamvault-exporter",
            [
                "--web.bearer-token-file", file, "--web.listen-address", "127.0.0.1:0",
                "--telemetry-dir", bench.directory.path,
            ]
        )
        let base = "http://127.0.0.1:\(try bench.listeningPort(of: program))"
        #expect(try get("\(base)/metrics").status == 401)
        #expect(try get("\(base)/health").status == 200)
        let output = try bench.run(
            "curl",
            ["-s", "--max-time", "10", "--oauth2-bearer", "s3cret", "\(base)/metrics"]
        ).output
        #expect(output.contains("code=\"401\"} 1\n"))
        #expect(!program.log.contains("s3cret"))
    }

    @Test("healthcheck says by its exit status how a server is, and why in one line")
    func healthcheck() throws {
        let program = try startOnSocket()
        let exporter = try bench.startExporter()
        func check(_ url: String) throws -> (status: Int32, output: String) {
            try bench.run("streamvault-exporter", ["healthcheck", url, "--timeout", "5s"])
        }
        for url in [
            "http://127.0.0.1:\(exporter.port)/health", "http://localhost:\(exporter.port)/livez",
            "unix:\(socket):/-/ready",
        ] {
            #expect(try check(url) == (0, ""))
        }
        for (url, reason) in [
            ("http://127.0.0.1:\(exporter.port)/readyz", "503"),
            ("http://127.0.0.1:\(exporter.port)/nowhere", "404"),
            ("http://127.0.0.1:1/", "Connection refused"),
            ("unix:\(socket).not:/", "No such file"),
        ] {
            let ended = try check(url)
            #expect(ended.status == 1)
            #expect(ended.output.contains(url) && ended.output.contains(reason), "\(ended.output)")
            #expect(ended.output.split(separator: "\n").count == 1)
        }
        #expect(try check("https://localhost/").status == 64)
        withExtendedLifetime(program) {}
    }

    @Test(
        "healthcheck does not trust a server",
        arguments: [
            ("HTTP/1.1 204 No Content\\r\\n", 0, ""), ("HTTP/1.1 302 Found\\r\\n", 0, ""),
            ("HTTP/1.1 500 No\\r\\n", 1, "500"), ("SSH-2.0-x\\r\\n", 1, "not HTTP"),
            ("HTTP/1.1 2 OK\\r\\n", 1, "not HTTP"), ("", 1, "ended"),
            ("x' * 100000 + b'", 1, "not HTTP"), ("HTTP/1.1 200", 1, "ended"),
        ] as [(String, Int32, String)]
    )
    func strangers(_ answer: String, _ status: Int32, _ reason: String) throws {
        let ended = try check(server: "c.recv(4096); c.sendall(b'\(answer)'); c.close()")
        #expect(ended.status == status, "\(ended.output)")
        #expect(reason.isEmpty ? ended.output.isEmpty : ended.output.contains(reason))
    }

    @Test(
        "healthcheck ends in time, whatever the server does",
        arguments: [
            "time.sleep(30)", "c.recv(4096); time.sleep(30)",
            "[c.sendall(b'x') or time.sleep(0.1) for _ in range(300)]",
        ]
    )
    func slow(_ code: String) throws {
        let ended = try check(server: code, timeout: "300ms")
        #expect(ended.status == 1)
        #expect(ended.output.contains("no answer within 300ms"))
    }

    /// Checks a server that does with its first connection `c` what `code` says.
    private func check(
        server code: String,
        timeout: String = "10s"
    ) throws -> (status: Int32, output: String) {
        let script = """
            import socket, time
            s = socket.create_server(('127.0.0.1', 0))
            print('listen=127.0.0.1:%d' % s.getsockname()[1], flush=True)
            c, _ = s.accept()
            \(code)
            """
        let server = try bench.start("python3", ["-c", script])
        let url = "http://127.0.0.1:\(try bench.listeningPort(of: server))/"
        let ended = try bench.run(
            "streamvault-exporter",
            ["healthcheck", url, "--timeout", timeout]
        )
        server.kill()
        return ended
    }
}
