import Testing

@testable import HLS
@testable import Media

@Suite("marks of missing packets")
struct HLSMarkerTests {
    @Test(
        "one for each stream, with the counter on which its first packet follows",
        arguments: [(0x10, 0x2f), (0x13, 0x22), (0x33, 0x22), (0x23, 0x23), (0x1f, 0x2e)]
            as [(UInt8, UInt8)]
    )
    func counter(_ flags: UInt8, _ expected: UInt8) {
        let first = packet(0x41, 0x00, flags)
        let media = first + first + packet(0x1f, 0xff, 0x10) + packet(0x01, 0x01, 0x15)
        let markers = TransportStream.discontinuityMarkers(before: media)
        let stuffing = [UInt8](repeating: 0xff, count: 182)
        #expect(
            markers == [0x47, 0x01, 0x00, expected, 183, 0x80] + stuffing
                + [0x47, 0x01, 0x01, 0x24, 183, 0x80] + stuffing
        )
        let isWhole = TransportStream.isAligned(markers.span)
        #expect(isWhole)
    }

    private func packet(_ high: UInt8, _ low: UInt8, _ flags: UInt8) -> [UInt8] {
        [0x47, high, low, flags] + [UInt8](repeating: 0, count: 184)
    }
}
