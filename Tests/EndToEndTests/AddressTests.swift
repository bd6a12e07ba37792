import Foundation
import Testing

@Suite("addresses that a stream may use", .timeLimit(.minutes(5)))
struct AddressTests {
    private let bench: Workbench

    init() throws {
        bench = try Workbench()
    }

    /// Runs a recorder in a network of its own, where one server has a public and a private address.
    ///
    /// Prints each request: the address at which it came, and its path.
    private static let stage = """
        import fcntl, http.server, os, signal, socket, struct, subprocess, sys, threading

        control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for name, address in ((b"lo", "127.0.0.1"), (b"lo:1", "93.184.215.14")):
            host = socket.inet_aton(address)
            fcntl.ioctl(control, 0x8916, struct.pack("16sHH4s8x", name, socket.AF_INET, 0, host))
            fcntl.ioctl(control, 0x8914, struct.pack("16sH14x", name, 0x41))

        media = b"\\x47\\x1f\\xff\\x10" + b"\\xff" * 184
        private = "http://127.0.0.1"
        live = "#EXTM3U\\n#EXT-X-TARGETDURATION:1\\n%s#EXT-X-ENDLIST\\n"
        segment = "#EXTINF:1,\\n%s\\n"
        texts = {
            "/private.m3u8": live % (segment % (private + "/own.ts")),
            "/public.m3u8": live % (
                segment % "/good.ts"
                + "".join(segment % (host + "/-/terminating") for host in (
                    private, "http://127.1", "http://0x7f.1", "http://2130706433", "http://localhost",
                    "http://0.0.0.0", "http://[::ffff:127.0.0.1]", "HTTP://127.0.0.1:80",
                ))
                + segment % "/redirected.ts"
                + '#EXT-X-KEY:METHOD=AES-128,URI="' + private + '/key"\\n' + segment % "/locked.ts"
                + "#EXT-X-KEY:METHOD=NONE\\n" + segment % "/last.ts"
            ),
            "/master.m3u8": "#EXTM3U\\n#EXT-X-STREAM-INF:BANDWIDTH=1\\n" + private + "/variant\\n",
        }

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                # One write for each line: print() of several threads mixes their words.
                line = "asked %s %s\\n" % (self.connection.getsockname()[0], self.path)
                os.write(1, line.encode())
                if self.path in ("/redirected.ts", "/moved.m3u8"):
                    self.send_response(302)
                    self.send_header("Location", private + "/-/terminating")
                    self.end_headers()
                    return
                body = texts[self.path].encode() if self.path in texts else media
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("0.0.0.0", 80), Handler)
        recorder = subprocess.Popen(sys.argv[1:])
        # Waited for, not handled: a handler runs in the main thread only, which may sleep in wait().
        awaited = {signal.SIGTERM, signal.SIGCHLD}
        signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        while recorder.poll() is None:
            if signal.sigwait(awaited) == signal.SIGTERM:
                recorder.terminate()
        sys.exit(recorder.returncode)
        """

    private func start(fields: String = "") throws -> Program {
        _ = try bench.makeDirectory("telemetry")
        let origin = "http://93.184.215.14"
        let config = try bench.configure(
            [
                TestStream.hls("pub", "\(origin)/public.m3u8"),
                TestStream.hls("mas", "\(origin)/master.m3u8"),
                TestStream.hls("mov", "\(origin)/moved.m3u8"),
                TestStream.hls("pri", "http://127.0.0.1/private.m3u8"),
            ],
            fields: fields
        )
        let recorder = Program.locate("streamvault-recorder").path
        let stage = ["--net", "python3", "-c", Self.stage, recorder, "--config", config]
        return try bench.start("unshare", stage)
    }

    /// Paths that were asked for at an address.
    private func asked(_ address: String, in log: String) -> Set<String> {
        let lines = log.split(separator: "\n").map { $0.split(separator: " ") }
        let matches = lines.filter { $0.count == 3 && $0[0] == "asked" && $0[1] == address }
        return Set(matches.map { String($0[2]) })
    }

    private func size(ofTheFileOf stream: String) -> Int? {
        let files = (try? bench.recordings(".ts")) ?? []
        let file = files.first { $0.contains("/\(stream)-") }
        return file.flatMap { try? Data(contentsOf: URL(fileURLWithPath: $0)).count }
    }

    @Test("a public origin names no private address, in whichever form; a private one does")
    func refused() throws {
        let exporter = try bench.startExporter()
        let program = try start()
        try eventually("both streams, recorded to their ends", within: 60) {
            size(ofTheFileOf: "pub") != nil && size(ofTheFileOf: "pri") != nil ? () : nil
        }
        _ = try program.line(containing: "msg=\"Playlist not loaded\" stream=mas")
        _ = try program.line(containing: "msg=\"Playlist not loaded\" stream=mov")
        let refused = #"streamvault_refused_addresses_total{recorder="cam"}"#
        #expect(try exporter.metrics()[refused] ?? 0 >= 12)
        #expect(try program.stop() == 0)
        let log = program.log
        #expect(asked("127.0.0.1", in: log) == ["/private.m3u8", "/own.ts"], "\(log)")
        // A segment whose key is refused may be given up before it is asked for itself.
        #expect(
            asked("93.184.215.14", in: log).subtracting(["/locked.ts"]) == [
                "/public.m3u8", "/good.ts", "/redirected.ts", "/last.ts", "/master.m3u8",
                "/moved.m3u8",
            ],
            "\(log)"
        )
        #expect(log.contains("127.0.0.1 is private, and a public origin may not name it"))
    }

    @Test("what the configuration allows is asked")
    func allowed() throws {
        let program = try start(fields: #"network: {allow_private: ["127.0.0.0/8"]}"#)
        try eventually("a variant at an allowed address") {
            asked("127.0.0.1", in: program.log).isSuperset(of: ["/variant", "/-/terminating"])
                ? () : nil
        }
        #expect(try program.stop() == 0)
    }
}
