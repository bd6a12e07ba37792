import Foundation
import Posix
import Synchronization
import TestSupport
import Testing

@testable import Fetch
@testable import HLS

@Suite("recording an HLS stream", .timeLimit(.minutes(5)))
struct HLSSourceTests {
    private typealias Reply = ScriptedServer.Reply

    private let stop: StopSignal
    private let lines = CollectedLines()

    init() throws {
        stop = try StopSignal()
    }

    @Test("a finished stream is taken whole and in order")
    func finished() async throws {
        let server = try ScriptedServer { path, _ in
            path.hasPrefix("/live") ? playlist(0, "abc", ended: true) : media(path)
        }
        let outcome = await source(server).read(until: stop)
        #expect(outcome.ending == .ended)
        #expect(outcome.collected.names == "abc")
        #expect(outcome.collected.events == [] && outcome.collected.segments == 3)
        #expect(server.requests.sorted() == ["/a.ts", "/b.ts", "/c.ts", "/live.m3u8?token=x"])
    }

    @Test("segments are resolved against the address after redirects")
    func redirected() async throws {
        let server = try ScriptedServer { path, _ in
            switch path {
            case "/live.m3u8?token=x": .redirect("/edge/7/live.m3u8")
            case "/edge/7/live.m3u8": playlist(0, "a", ended: true)
            default: media(path)
            }
        }
        let outcome = await source(server).read(until: stop)
        #expect(outcome.ending == .ended)
        #expect(server.requests.last == "/edge/7/a.ts")
    }

    @Test("a live window slides, and what slid by unseen is counted")
    func live() async throws {
        let server = try ScriptedServer { path, before in
            guard path.hasPrefix("/live") else { return media(path) }
            return switch before {
            case 0: playlist(0, "abc")
            case 1: playlist(1, "bcd")
            case 2: playlist(6, "gh")
            default: playlist(6, "gh", ended: true)
            }
        }
        let outcome = await source(server).read(until: stop)
        #expect(outcome.ending == .ended)
        #expect(outcome.collected.names == "abcdgh")
        #expect(outcome.collected.missed == [2])
    }

    @Test("a restarted encoder is noticed and its window taken")
    func reset() async throws {
        let server = try ScriptedServer { path, before in
            guard path.hasPrefix("/live") else { return media(path) }
            return switch before {
            case 0: playlist(100, "abc")
            case 1: playlist(0, "x")
            case 2: playlist(0, "xy")
            default: playlist(1, "yz", ended: true)
            }
        }
        let outcome = await source(server).read(until: stop)
        #expect(outcome.ending == .ended)
        #expect(outcome.collected.names == "abcxyz")
        #expect(outcome.collected.events.count { $0 == .restarted } == 1)
        #expect(outcome.collected.missed == [])
    }

    @Test(
        "a segment that fails is tried again, one that is gone is missed at once",
        arguments: [
            ([.status(404)], 1, "ac"), ([.status(410)], 1, "ac"), ([.status(500)], 2, "abc"),
            ([.status(500), .init(body: [0x47], announced: 188)], 3, "abc"),
            ([.text("<html>not found</html>")], 2, "abc"), ([.init(body: [0x47, 1, 2])], 2, "abc"),
            ([.text("")], 2, "abc"), ([.status(500), .status(503), .status(500)], 3, "ac"),
        ] as [([ScriptedServer.Reply], Int, String)]
    )
    func segment(answers: [ScriptedServer.Reply], asked: Int, leaves names: String) async throws {
        let server = try ScriptedServer { path, before in
            if path.hasPrefix("/live") { return playlist(0, "abc", ended: true) }
            return path == "/b.ts" && before < answers.count ? answers[before] : media(path)
        }
        let outcome = await source(server).read(until: stop)
        #expect(outcome.ending == .ended)
        #expect(outcome.collected.names == names)
        #expect(server.requests.count { $0 == "/b.ts" } == asked)
        #expect(outcome.collected.missed == (names == "abc" ? [] : [1]))
        #expect(lines.all.count == (names == "abc" ? 0 : 1))
    }

    @Test(
        "a segment whose address is refused is fetched from the one that the next load names, also after the end"
    )
    func refreshed() async throws {
        let server = try ScriptedServer { path, before in
            guard path.hasPrefix("/live") else {
                return path.contains("new") ? media(path) : .status(403)
            }
            let name = before == 0 ? "old" : "new"
            let segments = "ab".map { "#EXTINF:1,\n\(name)/\($0).ts\n" }.joined()
            return .text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n\(segments)#EXT-X-ENDLIST\n")
        }
        let outcome = await source(server).read(until: stop)
        #expect(outcome.ending == .ended)
        #expect(outcome.collected.names == "ab")
        #expect(outcome.collected.missed == [])
    }

    @Test("a playlist that fails for a while is noted by kind and tried again")
    func playlistFails() async throws {
        let server = try ScriptedServer { path, before in
            guard path.hasPrefix("/live") else { return media(path) }
            return switch before {
            case 0: playlist(0, "a")
            case 1: .status(500)
            case 2: .text("#EXTM3U\nbroken")
            case 3: .init(body: [1], announced: 10)
            default: playlist(0, "ab", ended: true)
            }
        }
        let outcome = await source(server).read(until: stop)
        #expect(outcome.ending == .ended)
        #expect(outcome.collected.names == "ab")
        #expect(outcome.collected.events.count == 3)
        #expect(outcome.collected.loadFailures == [.http, .invalid, .network])
        #expect(!lines.all.joined().contains("token"))
    }

    @Test("a playlist that is gone for good ends a stream that was there")
    func gone() async throws {
        let server = try ScriptedServer { path, before in
            guard path.hasPrefix("/live") else { return media(path) }
            return before == 0 ? playlist(0, "a") : .status(404)
        }
        let outcome = await source(server).read(until: stop)
        #expect(outcome.ending == .ended)
        #expect(outcome.collected.names == "a")
        #expect(server.requests.count == 5)
    }

    @Test("a stream that never was there fails with a reason, and without a token")
    func neverThere() async throws {
        let server = try ScriptedServer { _, _ in .status(404) }
        guard case .failed(let text) = await source(server).read(until: stop).ending
        else {
            Issue.record("the source has not failed")
            return
        }
        #expect(text.hasPrefix("HTTP status 404 (http://127.0.0.1:"))
        #expect(!text.contains("token"))
    }

    @Test(
        "what cannot be recorded is refused at once",
        arguments: [
            "#EXT-X-I-FRAMES-ONLY",
            "#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"k\"\n#EXTINF:1,\na.ts",
            "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"a\",URI=\"a\"\n#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO=\"a\"\nv",
        ]
    )
    func unsupported(lines: String) async throws {
        let server = try ScriptedServer { _, _ in .text("#EXTM3U\n\(lines)\n") }
        let outcome = await source(server).read(until: stop)
        guard case .failed(let text) = outcome.ending else {
            Issue.record("the source has not failed")
            return
        }
        #expect(text.contains("not supported"))
        #expect(server.requests.count == 1)
    }

    @Test("an address that is not http is refused")
    func fileAddress() async throws {
        let source = HLSStream(URL(filePath: "/etc/passwd"), log: lines.append)
        let outcome = await source.read(until: stop)
        #expect(outcome.ending == .failed("address of scheme file refused"))
    }

    @Test("a stop drops the segment that is on its way and keeps those before it")
    func stopWhileFetching() async throws {
        let server = try ScriptedServer { path, _ in
            if path.hasPrefix("/live") { return playlist(0, "abc") }
            return path == "/b.ts"
                ? Reply(body: [0x47], announced: 188, holds: true) : media(path)
        }
        let stop = stop
        let outcome = await source(server).read(until: stop, onItem: { _ in stop.request() })
        #expect(outcome.ending == .stopped)
        #expect(outcome.collected.names == "a")
        #expect(outcome.collected.missed == [])
        #expect(outcome.took < .seconds(5))
    }

    @Test("a stop does not wait for the next load, or for a pause between tries")
    func stopWhileWaiting() async throws {
        let server = try ScriptedServer { path, _ in
            path.hasPrefix("/live") ? playlist(0, "a", target: 600) : media(path)
        }
        let stop = stop
        let outcome = await source(server).read(until: stop, onItem: { _ in stop.request() })
        #expect(outcome.ending == .stopped)
        #expect(outcome.took < .seconds(5))
    }

    @Test("media that cannot be stored ends the source with the error")
    func sinkFails() async throws {
        let server = try ScriptedServer { path, _ in
            path.hasPrefix("/live") ? playlist(0, "ab") : media(path)
        }
        let full = SystemError(call: "write", code: 28)
        let outcome = await source(server).read(until: stop) { _ throws(SystemError) in throw full }
        #expect(outcome.ending == .notStored(full))
    }

    @Test("a run after one that failed begins with the segment that was not stored")
    func resumed() async throws {
        let server = try ScriptedServer { path, _ in
            path.hasPrefix("/live") ? playlist(0, "abcd", ended: true) : media(path)
        }
        let source = source(server)
        let failed = await source.read(until: stop) { total throws(SystemError) in
            if total > 376 { throw SystemError(call: "write", code: 28) }
        }
        #expect(failed.collected.segments == 1)
        let resumed = await source.read(until: stop)
        #expect(resumed.ending == .ended)
        #expect(resumed.collected.names == "bcd")
        let again = await source.read(until: stop)
        #expect(again.collected.bytes == [])
    }

    private func source(_ server: ScriptedServer) -> HLSStream {
        hlsStream(server.url("/live.m3u8?token=x"), log: lines.append)
    }
}
