/// Finds the place where a transport stream can be cut in two that each play by themselves; no byte is lost.
///
/// That is where a decoder may begin with the video, or, without video, where any stream begins a PES packet. What is left of
/// other streams' PES packets goes to the first part, behind the video that precedes the cut: a player would take half a
/// PES packet for damage.
package struct TransportStreamCutter {
    /// What can be said after some more bytes.
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

    /// What was found, while streams are in the middle of a PES packet.
    private struct Second {
        let tables: [UInt8]
        var openPIDs: Set<UInt16>
        var media: [UInt8] = []

        /// Bytes that are kept for the end of a PES packet: seconds of media.
        static let mostBytes = 4 << 20

        var cut: Cut? {
            guard openPIDs.isEmpty || media.count > Self.mostBytes else { return nil }
            return Cut(tables: tables, media: media)
        }
    }

    /// Less than a few packets.
    private var unread: [UInt8] = []
    private var isInStep = false
    private var tables = ProgramTables()
    private var open = OpenUnits()
    private var second: Second?

    package init() {}

    /// What was taken and belongs to no part yet, when nothing more is to come.
    package var rest: [UInt8] { (second?.media ?? []) + unread }

    /// Takes the next bytes, cut anywhere; not to be called after the cut.
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
        if isInStep {
            guard place + TransportStream.packetBytes <= unread.count else { return nil }
            if unread[place] == TransportStream.syncByte { return TransportStream.packetBytes }
            isInStep = false
        }
        let end = place + TransportStream.run * TransportStream.packetBytes
        guard end <= unread.count else { return nil }
        isInStep = TransportStream.isRun(of: TransportStream.run, endingAt: end, in: unread)
        return isInStep ? TransportStream.packetBytes : 1
    }

    /// Takes a packet, or a byte between packets.
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
