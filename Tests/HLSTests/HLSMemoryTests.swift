import Foundation
import Posix
import Synchronization
import TestSupport
import Testing

@testable import Fetch
@testable import HLS

@Suite("memory of HLS streams", .timeLimit(.minutes(5)))
struct HLSMemoryTests {
    private let lines = CollectedLines()

    @Test(
        "streams that share a small memory all come to their end, complete and in order",
        arguments: [true, false]
    )
    func shared(announces: Bool) async throws {
        let segment = packets("a").count * 2000
        let server = try ScriptedServer { path, _ in
            guard !path.hasPrefix("/live") else { return playlist(0, "abcdefgh", ended: true) }
            let name = String(path.dropLast(3).suffix(1))
            let bytes = (0..<2000).flatMap { _ in packets(name) }
            if announces { return .init(body: bytes) }
            return .init(raw: Array("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".utf8) + bytes)
        }
        let peak = Mutex(0)
        let memory = SegmentMemory(limit: 2 << 20) { used in peak.withLock { $0 = max($0, used) } }
        let stop = try StopSignal()
        let outcomes = await withTaskGroup(of: HLSOutcome.self) { group in
            for _ in 0..<4 {
                let source = hlsStream(server.url("/live.m3u8"), log: lines.append) {
                    $0.segments.memory = memory
                }
                group.addTask { await source.read(until: stop) }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
        for outcome in outcomes {
            #expect(outcome.ending == .ended)
            #expect(outcome.collected.missed == [])
            #expect(outcome.collected.bytes.count == 8 * segment)
            let firsts = (0..<8).map { outcome.collected.bytes[$0 * segment + 1] }
            #expect(firsts == Array("abcdefgh".utf8))
        }
        #expect(memory.usedBytes == 0)
        // Beyond the limit, each stream has its next segment, and a step ahead.
        let bound = (2 << 20) + 4 * (segment + segment / 4)
        #expect(peak.withLock { $0 } <= bound)
        #expect(
            outcomes.contains {
                $0.collected.events.contains {
                    if case .memoryFull = $0 { true } else { false }
                }
            }
        )
    }

    @Test("a stop does not wait for a playlist of many segments at a long address")
    func longPlaylist() async throws {
        let folder = String(repeating: "d", count: 7000)
        let server = try ScriptedServer { path, _ in
            if path == "/live.m3u8" {
                return .text("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n/\(folder)/x.m3u8\n")
            }
            guard path.hasSuffix("x.m3u8") else { return media("/a.ts") }
            let segments = String(repeating: "#EXTINF:1,\ns\n", count: 100_000)
            return .text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n" + segments)
        }
        let stop = try StopSignal()
        let source = hlsStream(server.url("/live.m3u8"), log: lines.append)
        let outcome = await source.read(
            until: stop,
            onItem: { item in
                if case .segment = item { stop.request() }
            }
        )
        #expect(outcome.ending == .stopped)
        #expect(outcome.collected.segments > 0)
    }

    @Test("an address of more than 8 KiB is not followed")
    func longAddress() async throws {
        let folder = String(repeating: "d", count: 60_000)
        let server = try ScriptedServer { path, before in
            before == 0
                ? .text("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n/\(folder)/x.m3u8\n")
                : .redirect("/\(folder)")
        }
        let stop = try StopSignal()
        let outcome = await hlsStream(server.url("/live.m3u8"), log: lines.append).read(until: stop)
        guard case .failed(let text) = outcome.ending else {
            Issue.record("the source has not failed")
            return
        }
        #expect(text.contains("address of more than 8192 bytes refused"))
        #expect(Set(server.requests) == ["/live.m3u8"])
    }
}
