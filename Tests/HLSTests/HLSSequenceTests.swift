import Foundation
import Posix
import TestSupport
import Testing

@testable import Fetch
@testable import HLS

@Suite("loads of a playlist with hostile numbers, one after the other", .timeLimit(.minutes(5)))
struct HLSSequenceTests {
    @Test(
        "tracker, queue and part sequence neither trap nor report what cannot be",
        arguments: [1, 2, 3, 4]
    )
    func sequences(seed: UInt64) throws {
        var random = SeededGenerator(state: seed)
        var (loads, written) = (0, 0)
        for _ in 0..<500 {
            var sequence = HostileSequence()
            for _ in 0..<Int.random(in: 2...6, using: &random) {
                loads += try sequence.load(&random) ? 1 : 0
                try sequence.fetchAndWrite(&random)
            }
            written += sequence.collected.bytes.count
        }
        #expect(
            loads > 1000 && written > 1_000_000,
            "most of it must be read: \(loads), \(written)"
        )
    }
}

/// A stream whose playlists hold numbers from both ends of their ranges.
private struct HostileSequence {
    private(set) var collected = HLSCollected()
    private var tracker = PlaylistTracker(from: .start)
    private var queue = SegmentQueue(SegmentQueue.Settings())
    private var isBroken = false
    private var now = BootTime(nanoseconds: 1_000_000_000)
    private var id = 0

    /// Takes a playlist; whether it was one.
    mutating func load(_ random: inout SeededGenerator) throws -> Bool {
        let pause = Duration.seconds([0, 1, 7, 60].randomElement(using: &random) ?? 0)
        now = now.advanced(by: pause)
        guard let base = URL(string: "http://h.test/live/x.m3u8"),
            case .media(let playlist)? = try? Playlist.parse(text(&random), from: base)
        else { return false }
        switch Int.random(in: 0..<12, using: &random) {
        case 0: tracker.interrupted()
        case 1: tracker.variantChanged()
        case 2: tracker = tracker.resumed(from: queue.first?.sequence)
        default: break
        }
        let update = tracker.take(playlist, loadedAt: now)
        try #require(update.missed >= 0 && update.missed < 20_000, "\(update.missed) missed")
        try #require(tracker.nextLoad > now)
        try #require(tracker.nextLoad.since(now) <= .seconds(60))
        let numbers = update.segments.map(\.sequence)
        try #require(numbers == numbers.sorted() && Set(numbers).count == numbers.count)
        queue.append(update.segments)
        return true
    }

    /// Answers all requests, and writes what comes of it.
    mutating func fetchAndWrite(_ random: inout SeededGenerator) throws {
        var budget = 200
        while queue.first != nil, budget > 0 {
            budget -= 1
            while let request = queue.nextRequest(at: now) {
                id += 1
                queue.began(request, id: id)
                if Bool.random(using: &random) {
                    queue.take(.init(id: id, result: answer(request, &random)), at: now)
                }
            }
            for id in max(1, id - 9)...max(1, id) {
                queue.take(.init(id: id, result: .success(body(&random))), at: now)
            }
            while let segment = queue.first, let outcome = queue.outcome(at: now) {
                switch outcome {
                case .media(let unit):
                    let isDiscontinuous = isBroken || segment.isDiscontinuous
                    collected.append(unit, segment.sequence, isDiscontinuous: isDiscontinuous)
                    isBroken = false
                case .missed: isBroken = isBroken || segment.isDiscontinuous
                }
                queue.removeFirst()
            }
            now = now.advanced(by: .milliseconds(500))
        }
        try #require(budget > 0, "the queue comes to its end")
    }

    private func answer(
        _ request: FetchRequest,
        _ random: inout SeededGenerator
    ) -> Result<FetchedBody, FetchError> {
        switch Int.random(in: 0..<8, using: &random) {
        case 0: .failure(.http(status: 404))
        case 1: .failure(.timedOut)
        default: .success(body(&random))
        }
    }

    private func body(_ random: inout SeededGenerator) -> FetchedBody {
        let box: (String, [UInt8]) -> [UInt8] = { type, content in
            [0, 0, 0, UInt8(8 + content.count)] + Array(type.utf8) + content
        }
        let bytes: [UInt8] =
            switch Int.random(in: 0..<8, using: &random) {
            case 0:
                [UInt8](repeating: 0x6b, count: [0, 15, 16, 17].randomElement(using: &random) ?? 0)
            case 1: box("ftyp", [1]) + box("moov", [UInt8.random(in: 0...1, using: &random)])
            case 2: box("moof", []) + box("mdat", [1, 2])
            case 3: [0, 0, 0, 1] + Array("mdat".utf8) + [UInt8](repeating: 0xff, count: 8)
            default: packets("ab")
            }
        return FetchedBody(bytes: bytes, url: URL(filePath: "/"))
    }

    private func text(_ random: inout SeededGenerator) -> [UInt8] {
        func one(of texts: [String]) -> String { texts.randomElement(using: &random) ?? "" }
        let numbers = [
            "0", "1", "5", "100", "4294967296", "4611686018427387904", "9223372036854775807",
            "9223372036854775808", "9223372036854775811", "18446744073709551594",
            "18446744073709551614", "18446744073709551615", "18446744073709551616",
        ]
        let durations = ["0", "1", "2", "0.0000001", "1000000", "1e308", "nan", "-1", "", "9.009"]
        let known = ["0", "1", "2", "10"]
        func rarely(_ rare: [String], _ usual: [String]) -> String {
            one(of: Int.random(in: 0..<20, using: &random) == 0 ? rare : usual)
        }
        var lines = [
            "#EXTM3U", "#EXT-X-TARGETDURATION:" + rarely(durations, ["0", "2", "1000000"]),
        ]
        lines.append(
            "#EXT-X-MEDIA-SEQUENCE:" + one(of: Bool.random(using: &random) ? known : numbers)
        )
        if Bool.random(using: &random) {
            lines.append(
                "#EXT-X-DISCONTINUITY-SEQUENCE:"
                    + rarely(numbers, ["0", "3"] + numbers.dropLast(4))
            )
        }
        for place in 0..<Int.random(in: 1...8, using: &random) {
            switch Int.random(in: 0..<16, using: &random) {
            case 0...2: lines.append("#EXT-X-GAP")
            case 3, 4: lines.append("#EXT-X-DISCONTINUITY")
            case 5:
                let range = one(of: [
                    "1@0", "188@9223372036854775807", "9223372036854775807@1", "376@188",
                ])
                lines.append("#EXT-X-BYTERANGE:" + range)
            case 6:
                lines.append("#EXT-X-KEY:METHOD=AES-128,URI=\"k\",IV=0x" + one(of: ["0", "ff"]))
            case 7: lines.append("#EXT-X-KEY:METHOD=NONE")
            case 8: lines.append("#EXT-X-MAP:URI=\"i\(place % 2).mp4\"")
            default: break
            }
            lines += [
                "#EXTINF:" + rarely(durations, ["0", "1", "2", "1000000"]) + ",", "s\(place).ts",
            ]
        }
        if Int.random(in: 0..<20, using: &random) == 0 { lines.append("#EXT-X-ENDLIST") }
        return Array(lines.joined(separator: "\n").utf8)
    }
}
