import Posix

/// The packets of an MPEG transport stream (ISO/IEC 13818-1): 188 bytes that begin with 0x47.
package enum TransportStream {
    package static let packetBytes = 188
    package static let syncByte: UInt8 = 0x47

    /// Whether `media` consists of complete packets, as far as sync bytes tell.
    package static func isAligned(_ media: Span<UInt8>) -> Bool {
        !media.isEmpty && media.count % packetBytes == 0
            && stride(from: 0, to: media.count, by: packetBytes).allSatisfy {
                media[$0] == syncByte
            }
    }

    /// So many packets in a row must begin with the sync byte, or bytes that have the value by chance would pass for media.
    static let run = 4

    /// Bytes of the file up to the end of its last complete packet; 0 when it does not begin with packets.
    static func completeLength(
        of file: borrowing FileDescriptor,
        length: Int
    ) throws(SystemError) -> Int {
        let packets = min(length / packetBytes, run)
        let head = try file.bytes(at: 0, count: packets * packetBytes)
        guard packets > 0, isRun(of: packets, endingAt: head.count, in: head) else { return 0 }
        // Too short for a search: one byte of 0x47 in a packet would look like the start of another.
        guard packets == run else { return head.count }
        return try lastRunEnd(in: file, length: length)
    }

    /// Searches from the end for a run of packets, at any offset.
    ///
    /// A crash may leave zeros at the end, and packets need not lie on multiples of 188: a source that was interrupted within a
    /// packet shifts all that follow, and a player finds them again.
    private static func lastRunEnd(
        in file: borrowing FileDescriptor,
        length: Int
    ) throws(SystemError) -> Int {
        let runLength = run * packetBytes
        var end = length
        while end > runLength {
            let start = max(0, end - 65_536)
            let window = try file.bytes(at: start, count: end - start)
            var candidate = window.count
            while candidate >= runLength {
                if isRun(of: run, endingAt: candidate, in: window) { return start + candidate }
                candidate -= 1
            }
            end = start + candidate
        }
        return runLength  // The head, which has been checked.
    }

    /// Whether so many packets in a row end at `end`, as far as sync bytes tell.
    static func isRun(of packets: Int, endingAt end: Int, in bytes: [UInt8]) -> Bool {
        (1...packets).allSatisfy { bytes[end - $0 * packetBytes] == syncByte }
    }

    /// A packet for each stream in `media`, to write before it where packets are missing.
    ///
    /// It has no payload, and its `discontinuity_indicator` (ISO/IEC 13818-1, 2.4.3.5) announces a jump of counters and
    /// clocks. Without it, demultiplexers treat the jump as damage.
    package static func discontinuityMarkers(before media: [UInt8]) -> [UInt8] {
        var markers: [UInt8] = []
        var marked: Set<UInt16> = [nullStream]
        for start in stride(from: 0, through: media.count - packetBytes, by: packetBytes) {
            let (high, low) = (media[start + 1] & 0x1f, media[start + 2])
            guard marked.insert(UInt16(high) << 8 | UInt16(low)).inserted else { continue }
            let flags = media[start + 3]
            // Only packets with a payload are counted; the first one of `media` then continues the count.
            let counter = (flags & 0x10 == 0 ? flags : flags &- 1) & 0x0f
            markers += [syncByte, high, low, 0x20 | counter, UInt8(packetBytes - 5), 0x80]
            markers += [UInt8](repeating: 0xff, count: packetBytes - 6)
        }
        return markers
    }

    /// Stuffing, whose counter has no meaning.
    private static let nullStream: UInt16 = 0x1fff
}

/// One packet of a transport stream: ISO/IEC 13818-1, 2.4.3.2.
struct TransportPacket {
    /// 188 of them.
    let bytes: ArraySlice<UInt8>

    private subscript(_ offset: Int) -> UInt8 { bytes[bytes.startIndex + offset] }

    var pid: UInt16 { UInt16(self[1] & 0x1f) << 8 | UInt16(self[2]) }

    /// Whether a PES packet or a section begins in the payload; `false` for a packet that is marked as damaged.
    var beginsUnit: Bool { self[1] & 0xc0 == 0x40 }

    /// Whether a decoder may begin with the unit that begins here.
    var isRandomAccess: Bool { hasAdaptationField && self[4] > 0 && self[5] & 0x40 != 0 }

    /// Empty if there is none, or it is scrambled or damaged.
    var payload: ArraySlice<UInt8> {
        guard self[1] & 0x80 == 0, self[3] & 0xd0 == 0x10 else { return [] }
        return bytes.dropFirst(hasAdaptationField ? 5 + Int(self[4]) : 4)
    }

    private var hasAdaptationField: Bool { self[3] & 0x20 != 0 }
}

extension TransportStream {
    /// Where the first packet from `position` on begins: the sync bytes of those after it, up to four, are in their places.
    package static func firstRun(in bytes: [UInt8], from position: Int) -> Int? {
        var start = position
        while start + packetBytes <= bytes.count {
            let places = (0..<run).map { start + $0 * packetBytes }.prefix { $0 < bytes.count }
            if places.allSatisfy({ bytes[$0] == syncByte }) { return start }
            start += 1
            while start < bytes.count, bytes[start] != syncByte { start += 1 }
        }
        return nil
    }

    /// Whether `bytes` contain a run of packets, near their start.
    package static func isPlausible(_ bytes: [UInt8]) -> Bool {
        if isAligned(bytes.span) { return true }
        let head = [UInt8](bytes.prefix(64 << 10))
        return firstRun(in: head, from: 0).map { head.count - $0 > (run - 1) * packetBytes }
            ?? false
    }
}
