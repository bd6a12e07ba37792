/// Makes complete packets of the segments of a transport stream.
///
/// Bytes that belong to no packet are dropped; a packet that the end of a segment cuts is completed by the next segment.
package struct PacketAligner {
    /// The beginning of a packet.
    private var rest: [UInt8] = []

    package init() {}

    /// Drops the packet that is incomplete, since what follows does not complete it.
    ///
    /// - Returns: how many bytes it has.
    package mutating func reset() -> Int {
        defer { rest = [] }
        return rest.count
    }

    /// The packets of `segment`, and how many bytes were dropped.
    package mutating func packets(of segment: [UInt8]) -> (bytes: [UInt8], dropped: Int) {
        let size = TransportStream.packetBytes
        if TransportStream.isAligned(segment.span) { return (segment, reset()) }
        let input = rest + segment
        rest = []
        var (packets, dropped, position): ([UInt8], Int, Int) = ([], 0, 0)
        packets.reserveCapacity(input.count)
        while let start = TransportStream.firstRun(in: input, from: position) {
            dropped += start - position
            var end = start
            while end + size <= input.count, input[end] == TransportStream.syncByte { end += size }
            packets += input[start..<end]
            position = end
            guard input.count - end < size, end < input.count,
                input[end] == TransportStream.syncByte
            else { continue }
            rest = [UInt8](input[end...])
            return (packets, dropped)
        }
        return (packets, dropped + input.count - position)
    }
}
