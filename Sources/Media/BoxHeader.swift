/// The start of a box of MP4 (ISO 14496-12, section 4.2).
struct BoxHeader: Equatable {
    static let mostBytes = 16

    /// Four characters, such as `moof`.
    let type: String
    /// Bytes of the whole box, this included.
    let size: Int

    /// Reads the first of `bytes`; `nil` where no box can begin.
    ///
    /// A box of size 0 reaches to the end of the file, wherever that is: never known to be whole.
    init?(_ bytes: ArraySlice<UInt8>) {
        let header = bytes.prefix(Self.mostBytes)
        guard header.count >= 8 else { return nil }
        var size = Self.bigEndian(header.prefix(4))
        if size == 1 {
            guard header.count == Self.mostBytes else { return nil }
            size = Self.bigEndian(header.suffix(8))
        }
        guard size >= 8, size <= UInt64(Int32.max) << 20 else { return nil }
        type = String(decoding: header.dropFirst(4).prefix(4), as: UTF8.self)
        self.size = Int(size)
    }

    private static func bigEndian(_ bytes: ArraySlice<UInt8>) -> UInt64 {
        bytes.reduce(0) { $0 << 8 | UInt64($1) }
    }
}
