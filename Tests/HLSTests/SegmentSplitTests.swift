import Foundation
import Posix
import Testing

@testable import HLS

@Suite("An HLS stream in two recordings")
struct SegmentSplitTests {
    private let header = mp4Box("ftyp") + mp4Box("moov")
    private let fragment = mp4Box("moof") + mp4Box("mdat", [1, 2, 3])

    /// Appends `units`; the last begins the next recording.
    private func append(
        _ units: [MediaUnit],
        _ numbers: [UInt64] = [0, 1, 2],
        isBroken: Bool = false
    ) -> HLSCollected {
        var collected = HLSCollected()
        for (index, unit) in units.enumerated() {
            let isLast = index == units.count - 1
            if isLast { collected.split() }
            collected.append(unit, numbers[index], isDiscontinuous: isLast && isBroken)
        }
        return collected
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
        let collected = append(
            [try unit("a"), try unit("b"), try unit("c")],
            numbers,
            isBroken: isBroken
        )
        #expect(collected.partBytes == [packets("ab"), packets("c")])
    }

    @Test("fragmented MP4 begins with its header again")
    func fragmented() throws {
        let unit = try MediaUnit(header: header, media: fragment)
        let collected = append([unit, unit, unit])
        #expect(collected.partBytes == [header + fragment + fragment, header + fragment])
    }
}
