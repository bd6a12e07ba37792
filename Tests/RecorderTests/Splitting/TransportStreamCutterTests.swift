import TestSupport
import Testing

@testable import Media
@testable import Recorder

@Suite("Where a transport stream is cut")
struct TransportStreamCutterTests {
    private typealias Made = MadePackets

    /// What came of a stream that was read in pieces.
    private struct Parts: Equatable {
        var first: [UInt8] = []
        var second: [UInt8]?
        var tables: [UInt8] = []
    }

    /// Cuts `stream`, of which each read brings as many bytes as `length` says.
    private func cut(_ stream: [UInt8], _ length: () -> Int = { 4096 }) -> Parts {
        var (cutter, parts, place) = (TransportStreamCutter(), Parts(), 0)
        while place < stream.count {
            let end = min(stream.count, place + length())
            let progress = cutter.take(stream[place..<end])
            place = end
            parts.first += progress.before
            guard let cut = progress.cut else { continue }
            (parts.second, parts.tables) = (cut.media + stream[place...], cut.tables)
            return parts
        }
        parts.first += cutter.rest
        return parts
    }

    @Test("the cut is where the video can be entered behind both tables, however reads fall")
    func reads() {
        let before =
            Array(Made.keyframe.dropFirst(88)) + Made.picture + Made.keyframe + Made.tables
            + Made.picture + Made.unit(Made.audio, length: 400) + Made.more(Made.audio)
            + Made.more(Made.audio)
        let behind = Made.keyframe + Made.picture + Made.tables + Made.keyframe
        let expected = Parts(first: before, second: behind, tables: Made.tables)
        for seed in 0..<200 as Range<UInt64> {
            var random = SeededGenerator(state: seed)
            let longest = [1, 10, 187, 188, 189, 1000, 9000][Int(seed % 7)]
            #expect(cut(before + behind) { .random(in: 1...longest, using: &random) } == expected)
        }
    }

    @Test("bytes between packets are kept, and the packets behind them are found again")
    func garbage() {
        let noise = (0..<700).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        let before = noise + Made.tables + Made.picture + Array(Made.picture.prefix(100)) + noise
        // Four packets in a row are what tells packets from chance.
        let behind = Made.picture + Made.picture + Made.keyframe + Made.picture + Made.picture
        let parts = cut(before + behind)
        #expect(parts.first + (parts.second ?? []) == before + behind)
        #expect(parts.second == Array(behind.dropFirst(4 * 188)))
    }

    private static let uncut: [(String, [UInt8])] = [
        ("no tables", Made.keyframe),
        ("no map", Made.association() + Made.keyframe),
        ("no association", Made.map() + Made.keyframe),
        ("a map that does not hold yet", Made.association() + Made.map(holdsNow: false)),
        ("a damaged map", Made.association() + Made.map(isDamaged: true) + Made.keyframe),
        ("a map of another program", Made.association([0x200]) + Made.map() + Made.keyframe),
        ("half a map", Made.association() + Made.map(information: 200).prefix(188)),
        ("no place to enter", Made.tables + Made.picture + Made.picture),
        (
            "the sound alone can be entered",
            Made.tables + Made.unit(Made.audio, isRandomAccess: true)
        ),
        ("not at the start of a unit", Made.tables + Made.packet(Made.video, isRandomAccess: true)),
        (
            "damaged",
            Made.tables
                + Made.packet(Made.video, begins: true, isRandomAccess: true, isDamaged: true)
        ),
        ("stream of no program", Made.tables + Made.unit(0x1ff, isRandomAccess: true)),
        ("no transport stream", (0..<5000).map { UInt8(truncatingIfNeeded: $0) }),
        ("nothing but sync bytes", [UInt8](repeating: 0x47, count: 5000)),
    ]

    @Test("without a place to cut everything stays in the first part", arguments: uncut)
    func nowhere(_ what: String, _ start: [UInt8]) {
        let stream = start + Made.picture + Made.more(Made.video)
        #expect(cut(stream) == Parts(first: stream))
        #expect(cut(stream) { 1 } == Parts(first: stream))
    }

    @Test("without video the cut is where any stream of the program begins a unit")
    func soundAlone() {
        let tables = Made.association() + Made.map([(0x0f, Made.audio), (0x06, 0x103)])
        let before = Made.unit(Made.audio) + tables + Made.more(Made.audio) + Made.unit(0x1ff)
        let behind = Made.unit(Made.audio) + Made.more(Made.audio)
        #expect(cut(before + behind) == Parts(first: before, second: behind, tables: tables))
    }

    @Test("a PES packet that is under way goes to the first part, whole")
    func underWay() {
        let before = Made.tables + Made.picture + Made.unit(Made.audio, length: 600)
        let rest = [1, 2, 3].map { Made.more(Made.audio, $0) }
        let next = Made.unit(Made.audio, length: 100)
        let stream =
            before + Made.keyframe + rest[0] + Made.picture + rest[1] + rest[2] + Made.tables + next
        let expected = Parts(
            first: before + rest.joined(),
            second: Made.keyframe + Made.picture + Made.tables + next,
            tables: Made.tables
        )
        for length in [1, 188, 500, 10_000] { #expect(cut(stream) { length } == expected) }
    }

    @Test("of a PES packet that began before anybody looked, the next tells the end")
    func beganEarlier() {
        let before = Made.tables + Made.more(Made.audio)
        let next = Made.unit(Made.audio, length: 300)
        let parts = cut(before + Made.keyframe + Made.more(Made.audio) + next + Made.picture)
        #expect(parts.first == before + Made.more(Made.audio))
        #expect(parts.second == Made.keyframe + next + Made.picture)
    }

    @Test("a PES packet that ends before its time is over with the next")
    func endsEarly() {
        let before = Made.tables + Made.unit(Made.audio, length: 60_000)
        let next = Made.unit(Made.audio, length: 60_000) + Made.more(Made.audio)
        let parts = cut(before + Made.keyframe + next + Made.picture)
        #expect(parts.first == before)
        #expect(parts.second == Made.keyframe + next + Made.picture)
    }

    @Test("a PES packet that does not go on holds nothing up for ever")
    func neverEnds() {
        let before = Made.tables + Made.unit(Made.audio, length: 600)
        let behind = Made.keyframe + (0..<15_000).flatMap { _ in Made.picture }
        let parts = cut(before + behind)
        #expect(parts.first == before && parts.second == behind)
        let short = Made.keyframe + Made.picture
        #expect(cut(before + short) == Parts(first: before + short), "nor is it lost at the end")
    }

    @Test("the second part begins with the tables as they came last, all packets of them")
    func latestTables() {
        let long = Made.association() + Made.map(information: 200)
        #expect(long.count == 3 * 188)
        let other = Made.association([0x300, 0x100])
        let stream = Made.tables + other + Made.map(information: 200) + Made.keyframe + long
        #expect(cut(stream).tables == other + Made.map(information: 200))
    }

    @Test("of several programs the first whose map comes is followed")
    func programs() {
        let tables = Made.association([0x200, 0x300])
        let map = Made.map([(0x1b, 0x301)], of: 0x300)
        let other = Made.map([(0x1b, 0x201)], of: 0x200) + Made.unit(0x201, isRandomAccess: true)
        let behind = Made.unit(0x301, isRandomAccess: true) + Made.picture
        let parts = cut(tables + map + other + behind)
        #expect(parts == Parts(first: tables + map + other, second: behind, tables: tables + map))
    }

    @Test("packets of any content lose no byte")
    func anything() {
        for seed in 0..<300 as Range<UInt64> {
            var random = SeededGenerator(state: seed)
            let noise = (0..<40).flatMap { _ in
                let pid = [0, 0x100, Made.video, Made.audio, 0x1fff].randomElement(using: &random)
                let bytes = (0..<184).map { _ in UInt8.random(in: 0...3, using: &random) }
                let head: [UInt8] = [0x40, 0x30, 0x50, 0x10].shuffled(using: &random)
                return [0x47, head[0] | UInt8((pid ?? 0) >> 8), UInt8((pid ?? 0) & 0xff), head[1]]
                    + bytes
            }
            let stream = Made.tables + noise + Made.keyframe
            let parts = cut(stream) { .random(in: 1...500, using: &random) }
            #expect((parts.first + (parts.second ?? [])).sorted() == stream.sorted())
        }
    }
}
