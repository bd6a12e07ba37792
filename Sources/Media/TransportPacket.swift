/// One packet of a transport stream: ISO/IEC 13818-1, 2.4.3.2.
struct TransportPacket {
    /// 188 of them.
    let bytes: ArraySlice<UInt8>

    private subscript(_ offset: Int) -> UInt8 { bytes[bytes.startIndex + offset] }

    var pid: UInt16 { UInt16(self[1] & 0x1f) << 8 | UInt16(self[2]) }

    /// Whether a PES packet or a section begins in the payload; never of a packet that is marked as damaged.
    var beginsUnit: Bool { self[1] & 0xc0 == 0x40 }

    /// Whether a decoder may begin with the unit that begins here.
    var isRandomAccess: Bool { hasAdaptationField && self[4] > 0 && self[5] & 0x40 != 0 }

    /// Empty where there is none that can be read: scrambled, damaged.
    var payload: ArraySlice<UInt8> {
        guard self[1] & 0x80 == 0, self[3] & 0xd0 == 0x10 else { return [] }
        return bytes.dropFirst(hasAdaptationField ? 5 + Int(self[4]) : 4)
    }

    private var hasAdaptationField: Bool { self[3] & 0x20 != 0 }
}
