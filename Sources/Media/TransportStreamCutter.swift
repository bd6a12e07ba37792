/// Finds the place where a transport stream can be cut into two parts that each play by themselves; no byte is lost.
///
/// That is where a decoder can begin with the video, or, without video, where any stream begins a PES packet. The rest of
/// other streams' PES packets goes to the first part, after the video that precedes the cut: a player would treat half a
/// PES packet as damage.
package struct TransportStreamCutter {
    /// The result for some more bytes.
    package struct Progress: Equatable {
        /// What belongs to the first part.
        package var before: [UInt8] = []
        /// The end of the search.
        package var cut: Cut?
    }

    /// A place to cut.
    package struct Cut: Equatable {
        /// The packets with the tables, for the second part to begin with: they are in the first, too.
        package let tables: [UInt8]
        /// What belongs to the second part.
        package let media: [UInt8]
    }

    /// A place that was found, while other streams are in the middle of a PES packet.
    private struct Second {
        let tables: [UInt8]
        var openPIDs: Set<UInt16>
        var media: [UInt8] = []

        /// So many bytes wait for the end of a PES packet: seconds of media.
        static let maxBytes = 4 << 20

        var cut: Cut? {
            guard openPIDs.isEmpty || media.count > Self.maxBytes else { return nil }
            return Cut(tables: tables, media: media)
        }
    }

    /// Bytes that are not examined yet: less than a few packets.
    private var unread: [UInt8] = []
    private var isSynchronized = false
    private var tables = ProgramTables()
    private var open = UnfinishedPackets()
    private var second: Second?

    package init() {}

    /// What belongs to no part yet, when nothing more is to come.
    package var rest: [UInt8] { (second?.media ?? []) + unread }

    /// Examines the next bytes, which may end anywhere; not to be called after the cut.
    package mutating func take(_ bytes: ArraySlice<UInt8>) -> Progress {
        var progress = Progress()
        unread += bytes
        var place = 0
        while let length = nextLength(at: place) {
            let slice = unread[place..<place + length]
            place += length
            take(slice, &progress)
            if let cut = second?.cut {
                progress.cut = Cut(tables: cut.tables, media: cut.media + unread[place...])
                return progress
            }
        }
        unread.removeFirst(place)
        return progress
    }

    /// Bytes of the packet that begins at `place`, or 1 where none does; `nil` when that cannot be told yet.
    private mutating func nextLength(at place: Int) -> Int? {
        if isSynchronized {
            guard place + TransportStream.packetBytes <= unread.count else { return nil }
            if unread[place] == TransportStream.syncByte { return TransportStream.packetBytes }
            isSynchronized = false
        }
        let end = place + TransportStream.run * TransportStream.packetBytes
        guard end <= unread.count else { return nil }
        isSynchronized = TransportStream.isRun(of: TransportStream.run, endingAt: end, in: unread)
        return isSynchronized ? TransportStream.packetBytes : 1
    }

    /// Examines a packet, or a byte between packets.
    private mutating func take(_ slice: ArraySlice<UInt8>, _ progress: inout Progress) {
        guard slice.count == TransportStream.packetBytes else {
            return add(slice, isOfFirst: second == nil, &progress)
        }
        let packet = TransportPacket(bytes: slice)
        if second == nil, isPlayable(from: packet), let packets = tables.packets {
            let others = tables.pids.subtracting([packet.pid])
            second = Second(tables: packets, openPIDs: others.filter(open.contains))
        }
        if packet.beginsUnit { second?.openPIDs.remove(packet.pid) }
        add(slice, isOfFirst: second?.openPIDs.contains(packet.pid) ?? true, &progress)
        tables.take(packet)
        open.take(packet)
        if !open.contains(packet.pid) { second?.openPIDs.remove(packet.pid) }
    }

    private mutating func add(
        _ slice: ArraySlice<UInt8>,
        isOfFirst: Bool,
        _ progress: inout Progress
    ) {
        if isOfFirst { progress.before += slice } else { second?.media += slice }
    }

    private func isPlayable(from packet: TransportPacket) -> Bool {
        guard packet.beginsUnit, tables.pids.contains(packet.pid) else { return false }
        return tables.video.map { $0 == packet.pid && packet.isRandomAccess } ?? true
    }
}

/// The tables that a player needs first: the programs (PAT), and the streams of one of them (PMT).
///
/// Of several programs, the first whose map arrives is used.
private struct ProgramTables {
    /// Of the streams of the program.
    private(set) var pids: Set<UInt16> = []
    /// Of its first video stream.
    private(set) var video: UInt16?
    private var association = TableSection(0)
    /// By PID; only the first that was complete, once there is one.
    private var maps: [UInt16: TableSection] = [:]

    private static let associationPID: UInt16 = 0
    /// MPEG-1, MPEG-2, MPEG-4, H.264, HEVC, VVC, AVS, Dirac, VC-1.
    private static let videoTypes: Set<UInt8> = [
        0x01, 0x02, 0x10, 0x1b, 0x24, 0x33, 0x42, 0xd1, 0xea,
    ]

    /// The latest packets of both tables, for a file to begin with; `nil` before both have arrived.
    var packets: [UInt8]? {
        guard !pids.isEmpty, let map = maps.values.first else { return nil }
        return association.packets + map.packets
    }

    mutating func take(_ packet: TransportPacket) {
        if packet.pid == Self.associationPID {
            if association.take(packet) { follow(association.section) }
        } else if var map = maps.removeValue(forKey: packet.pid) {
            let isComplete = map.take(packet)
            maps[packet.pid] = map
            if isComplete { choose(packet.pid, map) }
        }
    }

    private mutating func follow(_ section: [UInt8]) {
        let entries = stride(from: 8, to: section.count - 7, by: 4).map { start in
            (number: number(section, at: start), pid: number(section, at: start + 2) & 0x1fff)
        }
        // Number 0 is not a program.
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

/// The latest complete section of a table, and its packets: ISO/IEC 13818-1, 2.4.4.
private struct TableSection {
    let tableID: UInt8
    private(set) var section: [UInt8] = []
    private(set) var packets: [UInt8] = []
    /// What has arrived of the next one.
    private var arriving: (section: [UInt8], packets: [UInt8])?

    /// Bytes of the longest section, and of the shortest.
    private static let lengths = 12...1024

    init(_ tableID: UInt8) {
        self.tableID = tableID
    }

    /// Adds the next packet of the table's PID; whether it completes a section.
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
        // A table may be announced before it becomes valid.
        guard arriving.section[5] & 1 == 1 else { return false }
        (section, packets) = (Array(arriving.section[..<length]), arriving.packets)
        return true
    }
}

/// Which streams are in the middle of a PES packet: ISO/IEC 13818-1, 2.4.3.6.
private struct UnfinishedPackets {
    /// By PID; `Int.max` if only the next PES packet shows the end, as usual for video.
    private var bytesLeft: [UInt16: Int] = [:]

    func contains(_ pid: UInt16) -> Bool { bytesLeft[pid, default: 0] > 0 }

    mutating func take(_ packet: TransportPacket) {
        let (pid, payload) = (packet.pid, packet.payload)
        guard !payload.isEmpty else { return }
        let length = packet.beginsUnit ? Self.length(of: payload) : bytesLeft[pid] ?? .max
        bytesLeft[pid] = max(0, length - payload.count)
    }

    /// 0 if `unit` is not a PES packet.
    private static func length(of unit: ArraySlice<UInt8>) -> Int {
        let head = Array(unit.prefix(6))
        guard head.count == 6, head[0] == 0, head[1] == 0, head[2] == 1 else { return 0 }
        let rest = Int(head[4]) << 8 | Int(head[5])
        return rest == 0 ? .max : 6 + rest
    }
}
