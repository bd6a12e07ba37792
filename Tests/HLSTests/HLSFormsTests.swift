import Foundation
import Posix
import Synchronization
import TestSupport
import Testing

@testable import Fetch
@testable import HLS
@testable import Media

@Suite("forms of HLS: ranges, headers, keys, variants, parts", .timeLimit(.minutes(5)))
struct HLSFormsTests {
    private typealias Reply = ScriptedServer.Reply

    private let stop: StopSignal
    private let lines = CollectedLines()

    init() throws {
        stop = try StopSignal()
    }

    @Test(
        "ranges of one resource, from a server that knows them and from one that does not",
        arguments: [true, false]
    )
    func ranges(_ areKnown: Bool) async throws {
        let all = packets("abcd")
        let server = try ScriptedServer { path, _ in
            if path == "/all.ts" { return Reply(body: all, knowsRanges: areKnown) }
            return .text(
                list(
                    """
                    #EXTINF:1,
                    #EXT-X-BYTERANGE:376@376
                    all.ts
                    #EXTINF:1,
                    #EXT-X-BYTERANGE:376
                    all.ts
                    #EXT-X-ENDLIST
                    """
                )
            )
        }
        let outcome = await run(server)
        #expect(outcome.ending == .ended)
        #expect(outcome.collected.names == "bc")
    }

    @Test(
        "a range that the server cuts short, or answers with another, is not written",
        arguments: [
            Reply(status: 206, headers: ["Content-Range": "bytes 0-375/752"], body: packets("a")),
            Reply(status: 206, body: packets("b")),
            Reply(
                status: 206,
                headers: ["Content-Range": "bytes 376-563/564"],
                body: Array(packets("b").prefix(188))
            ),
            Reply(body: packets("a")),
        ]
    )
    func badRange(_ answer: ScriptedServer.Reply) async throws {
        let server = try ScriptedServer { path, _ in
            if path == "/all.ts" { return answer }
            return .text(list("#EXTINF:1,\n#EXT-X-BYTERANGE:376@376\nall.ts\n#EXT-X-ENDLIST\n"))
        }
        let outcome = await run(server)
        #expect(outcome.ending == .ended)
        #expect(outcome.collected.bytes.isEmpty)
        #expect(outcome.collected.missed == [1])
        #expect(server.requests.count { $0 == "/all.ts" } == 3)
    }

    @Test("a header begins a part, once, and again when it changes or the stream breaks")
    func headers() async throws {
        let server = try ScriptedServer { path, before in
            switch path {
            case "/i1", "/i1?again": Reply(body: fragmentedHeader(1))
            case "/i2": Reply(body: fragmentedHeader(2))
            case "/live.m3u8":
                .text(
                    list(
                        """
                        #EXT-X-MAP:URI="i1"
                        #EXTINF:1,
                        a.m4s
                        #EXT-X-MAP:URI="i1?again"
                        #EXTINF:1,
                        b.m4s
                        #EXT-X-MAP:URI="i2"
                        #EXTINF:1,
                        c.m4s
                        #EXT-X-DISCONTINUITY
                        #EXTINF:1,
                        d.m4s
                        #EXT-X-ENDLIST
                        """
                    )
                )
            default: Reply(body: fragment(path))
            }
        }
        let outcome = await run(server)
        #expect(outcome.ending == .ended)
        #expect(
            outcome.collected.parts.map(\.container) == [
                .fragmentedMP4, .fragmentedMP4, .fragmentedMP4,
            ]
        )
        #expect(
            outcome.collected.partBytes == [
                fragmentedHeader(1) + fragment("/a.m4s") + fragment("/b.m4s"),
                fragmentedHeader(2) + fragment("/c.m4s"), fragmentedHeader(2) + fragment("/d.m4s"),
            ]
        )
        #expect(server.requests.count { $0 == "/i2" } == 1)
    }

    @Test(
        "fragmented MP4 that is not whole is not written",
        arguments: [
            (fragmentedHeader(1), [UInt8](fragment("/a").dropLast())),
            (fragmentedHeader(1), mp4Box("moof")),
            (fragmentedHeader(1), packets("a")),
            (fragmentedHeader(1), fragmentedHeader(1)),
            (mp4Box("moov"), fragment("/a")), (mp4Box("ftyp"), fragment("/a")),
            (Array("<html>".utf8), fragment("/a")),
        ]
    )
    func brokenFragments(header: [UInt8], media: [UInt8]) async throws {
        let server = try ScriptedServer { path, _ in
            switch path {
            case "/i": Reply(body: header)
            case "/a": Reply(body: media)
            default: .text(list("#EXT-X-MAP:URI=\"i\"\n#EXTINF:1,\na\n#EXT-X-ENDLIST\n"))
            }
        }
        let outcome = await run(server)
        #expect(outcome.ending == .ended)
        #expect(outcome.collected.bytes.isEmpty && outcome.collected.parts.isEmpty)
        #expect(outcome.collected.missed == [1])
    }

    @Test("a break begins a part, also when the segment it came with is missing or a gap")
    func breaks() async throws {
        let server = try ScriptedServer { path, _ in
            switch path {
            case "/live.m3u8":
                .text(
                    list(
                        """
                        #EXT-X-DISCONTINUITY
                        #EXTINF:1,
                        a.ts
                        #EXTINF:1,
                        b.ts
                        #EXT-X-DISCONTINUITY
                        #EXTINF:1,
                        missing.ts
                        #EXTINF:1,
                        c.ts
                        #EXT-X-DISCONTINUITY
                        #EXT-X-GAP
                        #EXTINF:1,
                        gap.ts
                        #EXTINF:1,
                        d.ts
                        #EXTINF:1,
                        e.ts
                        #EXT-X-ENDLIST
                        """
                    )
                )
            case "/missing.ts": .status(404)
            default: media(path)
            }
        }
        let outcome = await run(server)
        #expect(outcome.ending == .ended)
        #expect(outcome.collected.names == "abcde")
        #expect(outcome.collected.parts.map { $0.at / 376 } == [0, 2, 3])
        #expect(outcome.collected.missed.reduce(0, +) == 2)
        #expect(!server.requests.contains("/gap.ts"))
    }

    @Test("segments come in order, whichever arrives first, and no more than so many at a time")
    func order() async throws {
        let names = "abcdefghijkl"
        let busy = Atomic(0)
        let most = Atomic(0)
        let server = try ScriptedServer { path, _ in
            if path == "/live.m3u8" { return playlist(0, names, ended: true) }
            let now = busy.add(1, ordering: .relaxed).newValue
            most.max(now, ordering: .relaxed)
            // The first of each three takes longest.
            let turn = names.utf8.firstIndex(of: path.utf8.dropFirst().first ?? 0)
            let place = turn.map { names.utf8.distance(from: names.startIndex, to: $0) } ?? 0
            usleep(UInt32(20_000 * (2 - place % 3)))
            busy.subtract(1, ordering: .relaxed)
            return media(path)
        }
        let outcome = await run(server)
        #expect(outcome.ending == .ended)
        #expect(outcome.collected.names == names)
        #expect(most.load(ordering: .relaxed) == 3)
    }

    @Test("no more is fetched while much waits for a segment that is late")
    func heldBytes() async throws {
        let server = try ScriptedServer { path, _ in
            if path == "/live.m3u8" { return playlist(0, "abcdefgh", ended: true) }
            return path == "/a.ts" ? Reply(body: [0x47], announced: 188, holds: true) : media(path)
        }
        let outcome = await run(server) {
            // 376 bytes each: with the second, there is no room for another.
            $0.segments.heldBytes = 2 * 376
            $0.segments.segment.timeout = .milliseconds(300)
        }
        #expect(outcome.ending == .ended)
        #expect(outcome.collected.names == "bcdefgh")
        let asked = server.requests
        let late = try #require(asked.lastIndex(of: "/a.ts"))
        #expect(!asked[..<late].contains { ["/e.ts", "/f.ts", "/g.ts", "/h.ts"].contains($0) })
    }

    @Test("the variant that was asked for is recorded, resolved against the master playlist")
    func variant() async throws {
        let server = try ScriptedServer { path, _ in
            switch path {
            case "/live.m3u8": .redirect("/edge/master.m3u8")
            case "/edge/master.m3u8": .text(master)
            case "/edge/low/l.m3u8": playlist(0, "a", ended: true)
            default: media(path)
            }
        }
        let outcome = await run(server) { $0.quality = .worst }
        #expect(outcome.ending == .ended)
        #expect(outcome.collected.events.first == .variantChosen("360p 800k"))
        #expect(server.requests.last == "/edge/low/a.ts")
    }

    @Test(
        "a media playlist that is forbidden, or gone twice, is looked for in the master again",
        arguments: [[403], [404, 410]]
    )
    func tokenExpires(_ answers: [Int]) async throws {
        let server = try ScriptedServer { path, before in
            switch path {
            case "/live.m3u8": .text("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n/t\(before)/l.m3u8\n")
            case "/t0/l.m3u8": before == 0 ? playlist(0, "abc") : .status(answers[before - 1])
            case "/t1/l.m3u8": playlist(2, "cd", ended: true)
            default: media(path)
            }
        }
        let outcome = await run(server)
        #expect(outcome.ending == .ended)
        #expect(outcome.collected.names == "abcd")
        #expect(outcome.collected.parts.count == 1, "the same encoding goes on in the same file")
        #expect(server.requests.count { $0 == "/live.m3u8" } == 2)
        let failures = outcome.collected.loadFailures.count { $0 == .http }
        #expect(failures == answers.count)
    }

    @Test("another encoding behind the master playlist begins a part")
    func otherVariant() async throws {
        let server = try ScriptedServer { path, before in
            switch path {
            case "/live.m3u8":
                .text(
                    "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=\(before + 1)\n/t\(before)/l.m3u8\n"
                )
            case "/t0/l.m3u8": before == 0 ? playlist(0, "ab") : .status(403)
            case "/t1/l.m3u8":
                before == 0 ? playlist(0, "ab") : playlist(1, "bcd", ended: true)
            default: media(path)
            }
        }
        let outcome = await run(server)
        #expect(outcome.ending == .ended)
        #expect(outcome.collected.names == "abcd")
        #expect(outcome.collected.parts.map { $0.at / 376 } == [0, 2])
    }

    @Test("a master playlist that leads to another is refused, in bounded time")
    func masterInMaster() async throws {
        let server = try ScriptedServer { _, _ in .text(master) }
        guard case .failed(let text) = await run(server).ending else {
            Issue.record("the source has not failed")
            return
        }
        #expect(text.contains("master playlist in place of a media playlist"))
    }

    @Test(
        "a live stream is recorded from its end where that is wanted",
        arguments: [
            ("", "fgh"), ("#EXT-X-START:TIME-OFFSET=-2\n", "gh"),
            ("#EXT-X-START:TIME-OFFSET=1.5\n", "bcdefgh"),
            ("#EXT-X-START:TIME-OFFSET=-100\n", "abcdefgh"),
            ("#EXT-X-START:TIME-OFFSET=100\n", "h"),
        ]
    )
    func fromLive(_ tag: String, _ expected: String) async throws {
        let segments = "abcdefgh".map { "#EXTINF:1,\n\($0).ts\n" }.joined()
        let server = try ScriptedServer { path, before in
            guard path == "/live.m3u8" else { return media(path) }
            return .text(list(tag + segments) + (before == 0 ? "" : "#EXT-X-ENDLIST\n"))
        }
        let outcome = await run(server) { $0.startPoint = .live }
        #expect(outcome.ending == .ended)
        #expect(outcome.collected.names == expected)
        #expect(outcome.collected.missed == [])
    }

    private func run(
        _ server: ScriptedServer,
        _ change: (inout HLSReader.Settings) -> Void = { _ in }
    ) async -> HLSOutcome {
        let source = hlsStream(server.url("/live.m3u8"), log: lines.append, change)
        return await source.read(until: stop)
    }
}

private let master = """
    #EXTM3U
    #EXT-X-STREAM-INF:BANDWIDTH=2000000,RESOLUTION=1280x720
    hi/l.m3u8
    #EXT-X-STREAM-INF:BANDWIDTH=800000,RESOLUTION=640x360
    low/l.m3u8

    """

private func list(_ rest: String) -> String {
    "#EXTM3U\n#EXT-X-TARGETDURATION:1\n" + rest
}

private func fragmentedHeader(_ number: UInt8) -> [UInt8] {
    mp4Box("ftyp", [number]) + mp4Box("moov", [number])
}

private func fragment(_ name: String) -> [UInt8] {
    mp4Box("styp") + mp4Box("moof") + mp4Box("mdat", Array(name.utf8))
}
