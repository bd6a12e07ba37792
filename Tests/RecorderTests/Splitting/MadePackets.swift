/// Packets of a transport stream, made by hand: ISO/IEC 13818-1, 2.4.3 and 2.4.4.
enum MadePackets {
    static let video = 0x101
    static let audio = 0x102
    private static let map = 0x100

    /// A packet whose payload is filled up with `filler`.
    static func packet(
        _ pid: Int,
        begins: Bool = false,
        isRandomAccess: Bool = false,
        isDamaged: Bool = false,
        _ payload: [UInt8] = [],
        filler: UInt8 = 0xff
    ) -> [UInt8] {
        let flags = (begins ? 0x40 : 0) | (isDamaged ? 0x80 : 0) | pid >> 8
        let head = [0x47, UInt8(flags), UInt8(pid & 0xff), isRandomAccess ? 0x30 : 0x10]
        let field: [UInt8] = isRandomAccess ? [1, 0x40] : []
        let bytes = head + field + payload
        return bytes + [UInt8](repeating: filler, count: 188 - bytes.count)
    }

    /// The first packet of a PES packet with `length` bytes behind that field; 0 does not say how many.
    static func unit(_ pid: Int, isRandomAccess: Bool = false, length: Int = 0) -> [UInt8] {
        let head: [UInt8] = [0, 0, 1, 0xe0, UInt8(length >> 8), UInt8(length & 0xff)]
        return packet(pid, begins: true, isRandomAccess: isRandomAccess, head, filler: 0x11)
    }

    /// The next packet of a PES packet.
    static func more(_ pid: Int, _ filler: UInt8 = 0x22) -> [UInt8] { packet(pid, filler: filler) }

    static func section(
        _ pid: Int,
        table: UInt8,
        _ body: [UInt8],
        holdsNow: Bool = true,
        isDamaged: Bool = false
    ) -> [UInt8] {
        let length = 5 + body.count + 4
        let head = [table, 0xb0 | UInt8(length >> 8), UInt8(length & 0xff)]
        let section = head + [0, 1, holdsNow ? 0xc1 : 0xc0, 0, 0] + body + [9, 9, 9, 9]
        let first = packet(pid, begins: true, isDamaged: isDamaged, [0] + section.prefix(183))
        return first + (section.count > 183 ? packet(pid, Array(section.dropFirst(183))) : [])
    }

    /// Where the programs are.
    static func association(_ maps: [Int] = [map]) -> [UInt8] {
        let programs = maps.enumerated().flatMap { index, pid -> [UInt8] in
            [0, UInt8(index + 1), 0xe0 | UInt8(pid >> 8), UInt8(pid & 0xff)]
        }
        return section(0, table: 0, [0, 0, 0xe0, 0x10] + programs)
    }

    /// A program's streams: type and PID; with `information` bytes about the program.
    static func map(
        _ streams: [(type: UInt8, pid: Int)] = [(0x0f, audio), (0x1b, video)],
        of pid: Int = map,
        information: Int = 0,
        holdsNow: Bool = true,
        isDamaged: Bool = false
    ) -> [UInt8] {
        let head: [UInt8] = [0xe1, 0x01, 0xf0, UInt8(information)]
        let entries = streams.flatMap { type, pid -> [UInt8] in
            [type, 0xe0 | UInt8(pid >> 8), UInt8(pid & 0xff), 0xf0, 2, 0x0a, 0]
        }
        let body = head + [UInt8](repeating: 0x05, count: information) + entries
        return section(pid, table: 2, body, holdsNow: holdsNow, isDamaged: isDamaged)
    }

    static let tables = association() + map()
    static let keyframe = unit(video, isRandomAccess: true) + more(video)
    static let picture = unit(video) + more(video)
}
