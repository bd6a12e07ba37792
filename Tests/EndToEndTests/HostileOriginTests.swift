import Foundation
import Testing

@Suite("an origin that means harm", .timeLimit(.minutes(5)))
struct HostileOriginTests {
    private let bench: Workbench

    init() throws {
        bench = try Workbench()
    }

    /// Each stream has a folder of its own; `honest` ends after ten segments.
    private static let origin = """
        import collections, http.server

        packet = b"\\x47\\x01\\x00\\x10" + b"\\xff" * 184
        loads = collections.Counter()

        def live(first, segments, end=""):
            head = "#EXTM3U\\n#EXT-X-TARGETDURATION:1\\n#EXT-X-MEDIA-SEQUENCE:%d\\n" % first
            return (head + "".join(segments) + end).encode()

        def segments(count, tags=""):
            return [tags + "#EXTINF:1,\\ns%d.ts\\n" % number for number in range(count)]

        def playlist(stream, path, load):
            if stream == "honest":
                return live(0, segments(10), "#EXT-X-ENDLIST\\n" if load > 3 else "")
            if stream == "leap":
                gap = "#EXT-X-GAP\\n#EXTINF:1,\\ng.ts\\n"
                return live(0, segments(3)) if load < 2 else live(2**64 - 11, [gap, "#EXTINF:1,\\nafter.ts\\n"])
            if stream == "breaks":
                return live(0, segments(300, "#EXT-X-DISCONTINUITY\\n"), "#EXT-X-ENDLIST\\n")
            if stream == "endless":
                return live(0, segments(6))
            if path.endswith("/long.m3u8"):
                return live(0, ["#EXTINF:1,\\ns\\n"] * 100000)
            return b"#EXTM3U\\n#EXT-X-STREAM-INF:BANDWIDTH=1\\n/long/" + b"d" * 7000 + b"/long.m3u8\\n"

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            def do_GET(self):
                stream = self.path.split("/")[1]
                if self.path.endswith(".m3u8"):
                    loads[stream] += 1
                    body = playlist(stream, self.path, loads[stream])
                elif stream == "endless":
                    return self.pour()
                elif stream == "leap":
                    # Each segment its own: the same bytes under another number would be the same segment.
                    body = (packet[:4] + self.path.encode().ljust(184, b"x")) * 8
                else:
                    body = packet * 8
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            def pour(self):
                self.send_response(200)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                try:
                    while True:
                        self.wfile.write(b"%x\\r\\n" % (188 * 2000) + packet * 2000 + b"\\r\\n")
                except OSError:
                    self.close_connection = True
            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        print("http://127.0.0.1:%d" % server.server_port, flush=True)
        server.serve_forever()
        """

    @Test("costs its own streams and bounded memory, few files, and no time at the end")
    func allAtOnce() throws {
        let program = try bench.start("python3", ["-c", Self.origin])
        let origin = try program.line(containing: "http://")
        let streams = ["honest", "leap", "breaks", "endless", "long"].map {
            TestStream.hls($0, "\(origin)/\($0)/x.m3u8")
        }
        let recorder = try bench.startRecorder(streams, fields: "hls: {memory: \"32MiB\"},")
        let honest = try eventually("the honest stream", within: 60) {
            try bench.recordings(".ts").first { $0.contains("/honest-") }
        }
        #expect(try Data(contentsOf: URL(fileURLWithPath: honest)).count == 10 * 8 * 188)
        let breaks = try eventually("all segments with a break", within: 60) {
            let files = try bench.recordings(".ts").filter { $0.contains("/breaks-") }
            let sizes = try files.map { try Data(contentsOf: URL(fileURLWithPath: $0)).count }
            // A packet before each segment says that its part goes on.
            let bytes = 300 * 9 * 188 - files.count * 188
            return sizes.reduce(0, +) == bytes ? files : nil
        }
        #expect(breaks.count >= 17 && breaks.count < 40)
        _ = try recorder.program.line(containing: "Segments wait for memory (hls.memory)")
        _ = try recorder.program.line(containing: "Media sequence began again")
        _ = try recorder.program.line(containing: "larger than 67108864 bytes")
        let status = try String(
            contentsOfFile: "/proc/\(recorder.program.identifier)/status",
            encoding: .utf8
        )
        let peak = try #require(status.firstMatch(of: /VmHWM:\s+(\d+) kB/).flatMap { Int($0.1) })
        #expect(peak < 400_000, "\(peak) kB")
        #expect(try recorder.program.stop() == 0)
        #expect(!recorder.program.log.contains("recording service shutdown: timeout"))
    }
}
