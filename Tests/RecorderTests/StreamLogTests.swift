import Posix
import TestSupport
import Testing

@testable import HLS
@testable import Media
@testable import Recorder

@Suite("What goes wrong with a stream is logged once, and then every ten minutes")
struct StreamLogTests {
    @Test("a stream that fails again and again is in the log once", .timeLimit(.minutes(5)))
    func failing() throws {
        let tries = FilesDirectory()
        let script = "echo x >> '\(tries.path)/tries'; exit 1"
        let source = StreamConfiguration.Source.command(
            argv: ["sh", "-c", script],
            container: .mpegTS
        )
        let stream = StreamConfiguration(name: "a", title: nil, source: source, record: .always)
        let bench = try APIBench([stream])
        bench.registry.open()
        try waitFor("a third try") { (try? tries.bytes(of: "tries").count) ?? 0 >= 6 }
        try bench.close()
        #expect(try bench.logged().matches(of: /msg="Stream failed"/).count == 1)
    }

    @Test(
        "a recording that finds no room is refused in the log once, and counted each time",
        .timeLimit(.minutes(5))
    )
    func noRoom() throws {
        let bench = try APIBench([.packets("a", record: .always)])
        bench.context.disk.apply(DiskSpace(freeBytes: 0, sizeBytes: 1 << 40))
        bench.registry.open()
        try waitFor("a second refusal") {
            try bench.word("streamvault_recordings_refused_total", ["no_space"]) ?? 0 >= 2
        }
        try bench.close()
        #expect(try bench.logged().matches(of: /msg="Recording refused"/).count == 1)
    }

    @Test(
        "media in another container than the configured one is said with its first bytes",
        .timeLimit(.minutes(5)),
        arguments: [
            ("Gxxxxxxx", .mpegTS, false), ("xxxxftyp", .mpegTS, true),
            ("xxxxftyp", .fragmentedMP4, false), ("xxxxmoof", .fragmentedMP4, false),
            ("Gxxxxxxx", .fragmentedMP4, true),
        ] as [(String, MediaContainer, Bool)]
    )
    func foreign(_ media: String, _ container: MediaContainer, isSaid: Bool) throws {
        let source = StreamConfiguration.Source.command(
            argv: ["sh", "-c", "printf \(media); exec sleep 600"],
            container: container
        )
        let stream = StreamConfiguration(name: "a", title: nil, source: source, record: .always)
        let bench = try APIBench([stream])
        bench.registry.open()
        try waitFor("the recording") { try bench.logged().contains("Recording started") }
        try bench.close()
        #expect(try bench.logged().contains("Media is not in the container") == isSaid)
    }

    @Test(
        "what a command that is offline prints at each attempt is in the log once",
        .timeLimit(.minutes(5))
    )
    func offline() throws {
        let tries = FilesDirectory()
        let script =
            "echo x >> '\(tries.path)/tries'; echo \"[$$] no stream at $(date +%N)\" >&2; exit 1"
        let source = StreamConfiguration.Source.command(
            argv: ["sh", "-c", script],
            container: .mpegTS
        )
        let stream = StreamConfiguration(name: "a", title: nil, source: source, record: .always)
        let bench = try APIBench([stream])
        bench.registry.open()
        try waitFor("a third try") { (try? tries.bytes(of: "tries").count) ?? 0 >= 6 }
        try bench.close()
        #expect(
            try bench.logged().matches(of: /msg="Command wrote to its standard error"/).count == 1
        )
    }

    @Test(
        "why a playlist is not loaded is in the log once, also when the stream fails for it",
        .timeLimit(.minutes(5))
    )
    func sameReason() throws {
        let server = try ScriptedServer { _, _ in .text("#EXTM3U\n#EXT-X-I-FRAMES-ONLY\n") }
        let source = StreamConfiguration.Source.hls(
            url: server.url("/live.m3u8"),
            quality: .best,
            from: .start
        )
        let bench = try APIBench([
            StreamConfiguration(name: "a", title: nil, source: source, record: .always)
        ])
        bench.registry.open()
        try waitFor("a second try") { server.requests.count >= 2 }
        try bench.close()
        #expect(try bench.logged().matches(of: /not supported/).count == 1)
    }
}
