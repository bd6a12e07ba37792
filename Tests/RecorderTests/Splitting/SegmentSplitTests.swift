import Foundation
import Posix
import Testing

@testable import Recorder

@Suite("An HLS stream in two recordings")
struct SegmentSplitTests {
    private let sink = CollectingSink()

    private let header = filesBox("ftyp") + filesBox("moov")
    private let fragment = filesBox("moof") + filesBox("mdat", [1, 2, 3])

    /// Writes segments of `units`; the split is due before the last.
    private func write(
        _ units: [MediaUnit],
        _ numbers: [UInt64] = [0, 1, 2],
        isBroken: Bool = false
    ) throws -> Collected {
        var parts = PartWriter(into: sink)
        let url = try #require(URL(string: "http://h"))
        for (index, unit) in units.enumerated() {
            let isLast = index == units.count - 1
            sink.isSplitDue = isLast
            var segment = MediaSegment(sequence: numbers[index], url: url, duration: .seconds(1))
            segment.isDiscontinuous = isLast && isBroken
            try parts.write(unit, of: segment)
        }
        return sink.collected
    }

    private func unit(_ name: String) throws -> MediaUnit {
        try MediaUnit(header: nil, media: packets(name))
    }

    @Test(
        "the next recording begins with the next segment; a gap or a break there needs nothing more",
        arguments: [([0, 1, 2], false), ([0, 1, 7], false), ([0, 1, 2], true)]
            as [([UInt64], Bool)]
    )
    func transportStream(_ numbers: [UInt64], _ isBroken: Bool) throws {
        let collected = try write(
            [try unit("a"), try unit("b"), try unit("c")],
            numbers,
            isBroken: isBroken
        )
        #expect(collected.partBytes == [packets("ab"), packets("c")])
    }

    @Test("fragmented MP4 begins with its header again")
    func fragmented() throws {
        let unit = try MediaUnit(header: header, media: fragment)
        let collected = try write([unit, unit, unit])
        #expect(collected.partBytes == [header + fragment + fragment, header + fragment])
    }

    @Test("a recording that has to go on does so as if nothing were due")
    func refused() throws {
        sink.refusesSplits = true
        let unit = try MediaUnit(header: header, media: fragment)
        let collected = try write([unit, unit, unit])
        #expect(collected.partBytes == [header + fragment + fragment + fragment])
    }
}
