/// The latest section of a table that is there whole, and the packets that brought it: ISO/IEC 13818-1, 2.4.4.
struct TableSection {
    let tableID: UInt8
    private(set) var section: [UInt8] = []
    private(set) var packets: [UInt8] = []
    /// What has come of the next one.
    private var arriving: (section: [UInt8], packets: [UInt8])?

    /// Bytes of the longest section, and of the shortest.
    private static let lengths = 12...1024

    init(_ tableID: UInt8) {
        self.tableID = tableID
    }

    /// Takes the next packet of the table's PID; whether a section is whole with it.
    mutating func take(_ packet: TransportPacket) -> Bool {
        guard let pointer = packet.payload.first else { return false }
        if packet.beginsUnit {
            arriving = (Array(packet.payload.dropFirst(1 + Int(pointer))), Array(packet.bytes))
        } else {
            arriving?.section += packet.payload
            arriving?.packets += packet.bytes
        }
        guard let arriving, arriving.section.count >= 3 else { return false }
        let length = 3 + (Int(arriving.section[1] & 0x0f) << 8 | Int(arriving.section[2]))
        guard arriving.section[0] == tableID, Self.lengths.contains(length) else {
            self.arriving = nil
            return false
        }
        guard arriving.section.count >= length else { return false }
        self.arriving = nil
        // A table may be announced before it holds.
        guard arriving.section[5] & 1 == 1 else { return false }
        (section, packets) = (Array(arriving.section[..<length]), arriving.packets)
        return true
    }
}
