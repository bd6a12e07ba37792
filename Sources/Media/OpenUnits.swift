/// Which streams are in the middle of a PES packet: ISO/IEC 13818-1, 2.4.3.6.
struct OpenUnits {
    /// By PID; `Int.max` where only the next PES packet tells, as is usual for video.
    private var bytesLeft: [UInt16: Int] = [:]

    func contains(_ pid: UInt16) -> Bool { bytesLeft[pid, default: 0] > 0 }

    mutating func take(_ packet: TransportPacket) {
        let (pid, payload) = (packet.pid, packet.payload)
        guard !payload.isEmpty else { return }
        let length = packet.beginsUnit ? Self.length(of: payload) : bytesLeft[pid] ?? .max
        bytesLeft[pid] = max(0, length - payload.count)
    }

    /// 0 for what is no PES packet.
    private static func length(of unit: ArraySlice<UInt8>) -> Int {
        let head = Array(unit.prefix(6))
        guard head.count == 6, head[0] == 0, head[1] == 0, head[2] == 1 else { return 0 }
        let rest = Int(head[4]) << 8 | Int(head[5])
        return rest == 0 ? .max : 6 + rest
    }
}
