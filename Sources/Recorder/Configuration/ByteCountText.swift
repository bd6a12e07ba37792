/// Sizes as people write them: `500MiB`, `1.5GB`, `0B`.
enum ByteCountText {
    static let rule = "must be a number with B, kB, MB, GB, TB, KiB, MiB, GiB or TiB"

    private static let units: [(name: String, bytes: Double)] = [
        ("KiB", 0x1p10), ("MiB", 0x1p20), ("GiB", 0x1p30), ("TiB", 0x1p40),
        ("kB", 1e3), ("MB", 1e6), ("GB", 1e9), ("TB", 1e12), ("B", 1),
    ]

    /// The size in bytes; `nil` for anything else, and for a size beyond 1 PiB.
    static func parse(_ text: String) -> UInt64? {
        guard let unit = units.first(where: { text.hasSuffix($0.name) }) else { return nil }
        let number = text.dropLast(unit.name.count)
        let isPlain = number.utf8.allSatisfy { (0x30...0x39).contains($0) || $0 == 0x2E }
        guard isPlain, number.first != ".", number.last != ".", let value = Double(number),
            value * unit.bytes <= 0x1p50
        else { return nil }
        return UInt64(value * unit.bytes)
    }
}
