/// What a player has to know first: where the programs are (PAT), and which streams one of them has (PMT).
///
/// Of several programs the first whose map comes is followed.
struct ProgramTables {
    /// Of the streams of the program.
    private(set) var pids: Set<UInt16> = []
    /// Of its first video stream.
    private(set) var video: UInt16?
    private var association = TableSection(0)
    /// By PID; only the first that was whole once there is one.
    private var maps: [UInt16: TableSection] = [:]

    private static let associationPID: UInt16 = 0
    /// MPEG-1, MPEG-2, MPEG-4, H.264, HEVC, VVC, AVS, Dirac, VC-1.
    private static let videoTypes: Set<UInt8> = [
        0x01, 0x02, 0x10, 0x1b, 0x24, 0x33, 0x42, 0xd1, 0xea,
    ]

    /// The packets of both tables as they came last, for a file to begin with; `nil` before they have come.
    var packets: [UInt8]? {
        guard !pids.isEmpty, let map = maps.values.first else { return nil }
        return association.packets + map.packets
    }

    mutating func take(_ packet: TransportPacket) {
        if packet.pid == Self.associationPID {
            if association.take(packet) { follow(association.section) }
        } else if var map = maps.removeValue(forKey: packet.pid) {
            let isWhole = map.take(packet)
            maps[packet.pid] = map
            if isWhole { choose(packet.pid, map) }
        }
    }

    private mutating func follow(_ section: [UInt8]) {
        let entries = stride(from: 8, to: section.count - 7, by: 4).map { start in
            (number: number(section, at: start), pid: number(section, at: start + 2) & 0x1fff)
        }
        // Number 0 is no program.
        let announced = Set(entries.filter { $0.number != 0 }.map(\.pid))
        guard maps.isEmpty || !announced.isSuperset(of: maps.keys) else { return }
        maps = Dictionary(uniqueKeysWithValues: announced.map { ($0, TableSection(2)) })
        (pids, video) = ([], nil)
    }

    private mutating func choose(_ pid: UInt16, _ map: TableSection) {
        let section = map.section
        maps = [pid: map]
        (pids, video) = ([], nil)
        var place = 12 + Int(number(section, at: 10) & 0x0fff)
        while place + 9 <= section.count {
            let stream = number(section, at: place + 1) & 0x1fff
            pids.insert(stream)
            if video == nil, Self.videoTypes.contains(section[place]) { video = stream }
            place += 5 + Int(number(section, at: place + 3) & 0x0fff)
        }
    }
}

/// Two bytes, the high one first.
private func number(_ bytes: [UInt8], at place: Int) -> UInt16 {
    UInt16(bytes[place]) << 8 | UInt16(bytes[place + 1])
}
