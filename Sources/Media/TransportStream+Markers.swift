extension TransportStream {
    /// A packet for each stream in `media`, to stand before it where packets are missing.
    ///
    /// It has no payload, and says by `discontinuity_indicator` (ISO/IEC 13818-1, 2.4.3.5) that counters and clocks leap
    /// here. Without it, demultiplexers take the leap for damage.
    package static func discontinuityMarkers(before media: [UInt8]) -> [UInt8] {
        var markers: [UInt8] = []
        var marked: Set<UInt16> = [nullStream]
        for start in stride(from: 0, through: media.count - packetBytes, by: packetBytes) {
            let (high, low) = (media[start + 1] & 0x1f, media[start + 2])
            guard marked.insert(UInt16(high) << 8 | UInt16(low)).inserted else { continue }
            let flags = media[start + 3]
            // Only packets with a payload count; the first one of `media` then follows on the marker.
            let counter = (flags & 0x10 == 0 ? flags : flags &- 1) & 0x0f
            markers += [syncByte, high, low, 0x20 | counter, UInt8(packetBytes - 5), 0x80]
            markers += [UInt8](repeating: 0xff, count: packetBytes - 6)
        }
        return markers
    }

    /// Stuffing, whose counter says nothing.
    private static let nullStream: UInt16 = 0x1fff
}
