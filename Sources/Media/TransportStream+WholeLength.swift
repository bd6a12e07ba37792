package import Posix

extension TransportStream {
    /// Packets in a row that must begin with the sync byte, so that chance does not pass for media.
    package static let run = 4

    /// Bytes of the file up to the end of its last whole packet; 0 when it does not begin with packets.
    package static func wholeLength(
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
    /// What a crash leaves at the end may be zeros, and packets need not lie on multiples of 188: a source that was cut
    /// in mid-packet shifts all that follow, and a player finds them again.
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

    /// Whether so many packets stand in a row before `end`, as far as sync bytes tell.
    static func isRun(of packets: Int, endingAt end: Int, in bytes: [UInt8]) -> Bool {
        (1...packets).allSatisfy { bytes[end - $0 * packetBytes] == syncByte }
    }
}
