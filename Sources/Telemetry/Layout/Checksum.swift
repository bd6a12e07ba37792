/// CRC-32 as zlib, PNG and Ethernet use it (polynomial 0xEDB88320, reflected), so that every language has it at hand.
enum Checksum {
    static func crc32(_ bytes: ArraySlice<UInt8>) -> UInt32 {
        unsafe bytes.withUnsafeBytes { bytes in
            var crc = UInt32.max
            var offset = 0
            while offset + 8 <= bytes.count {
                let word = unsafe bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                crc = next(UInt64(littleEndian: word) ^ UInt64(crc))
                offset += 8
            }
            while offset < bytes.count {
                let byte = unsafe bytes[offset] ^ UInt8(truncatingIfNeeded: crc)
                crc = crc >> 8 ^ tables[Int(byte)]
                offset += 1
            }
            return ~crc
        }
    }

    /// Eight bytes in one step, each by a table of its own.
    private static func next(_ word: UInt64) -> UInt32 {
        var (crc, rest, table) = (UInt32(0), word, 7 * 256)
        while table >= 0 {
            crc ^= tables[table + Int(rest & 0xFF)]
            (rest, table) = (rest >> 8, table - 256)
        }
        return crc
    }

    /// Table `n` gives what a byte does to the checksum when `n` bytes follow it.
    private static let tables: [UInt32] = {
        var tables: [UInt32] = (0..<256).map { byte in
            (0..<8).reduce(UInt32(byte)) { crc, _ in
                crc & 1 == 1 ? crc >> 1 ^ 0xEDB8_8320 : crc >> 1
            }
        }
        for index in 256..<2048 {
            let before = tables[index - 256]
            tables.append(before >> 8 ^ tables[Int(before & 0xFF)])
        }
        return tables
    }()
}
