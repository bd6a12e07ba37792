import Posix
import Testing

@testable import Media
@testable import Recorder

@Suite("A command's output in two recordings")
struct SplittingOutputTests {
    private let sink = CollectingSink()
    private let before = MadePackets.tables + MadePackets.picture
    private let behind = MadePackets.keyframe + MadePackets.picture

    /// What the sink has after `media`, given in pieces of `length` bytes.
    private func deliver(_ media: [UInt8], _ length: Int = 100) throws -> Collected {
        var output = SplittingOutput(into: sink)
        for start in stride(from: 0, to: media.count, by: length) {
            try output.append(media[start..<min(media.count, start + length)])
        }
        try output.finish()
        return sink.collected
    }

    @Test("nothing is kept back or looked for before the time is over")
    func notDue() throws {
        #expect(try deliver(before + behind).bytes == before + behind)
        #expect(sink.collected.parts.isEmpty)
    }

    @Test(
        "when the time is over the next recording begins with the tables",
        arguments: [1, 100, 9999]
    )
    func due(_ length: Int) throws {
        sink.isSplitDue = true
        let collected = try deliver(before + behind, length)
        #expect(collected.bytes == before + MadePackets.tables + behind)
        #expect(collected.parts.map(\.at) == [before.count])
        #expect(collected.parts.map(\.container) == [.mpegTS])
    }

    @Test(
        "where the recording has to go on, no byte is lost or doubled",
        arguments: [1, 100, 9999]
    )
    func refused(_ length: Int) throws {
        (sink.isSplitDue, sink.refusesSplits) = (true, true)
        #expect(try deliver(before + behind, length).bytes == before + behind)
        #expect(sink.collected.parts.isEmpty)
    }

    @Test("what cannot be cut is passed on to its last byte", arguments: [1, 100, 9999])
    func nowhere(_ length: Int) throws {
        sink.isSplitDue = true
        let media = before + MadePackets.picture + [0x47, 1, 2]
        #expect(try deliver(media, length).bytes == media)
    }
}
