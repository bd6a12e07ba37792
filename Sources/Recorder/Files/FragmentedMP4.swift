import Posix

/// The boxes of a fragmented MP4 file (ISO 14496-12): a header once, then `moof` and `mdat` in turn.
enum FragmentedMP4 {
    /// Bytes of the file up to the end of its last whole fragment; 0 without a header or a fragment.
    static func wholeLength(
        of file: borrowing FileDescriptor,
        length: Int
    ) throws(SystemError) -> Int {
        var position = 0
        var wholeLength = 0
        var hasHeader = false
        var isInFragment = false
        while let box = try readBox(of: file, at: position), box.end <= length {
            guard position > 0 || box.type == "ftyp" else { return 0 }
            switch box.type {
            case "moov": hasHeader = true
            case "moof": isInFragment = hasHeader
            case "mdat" where isInFragment:
                (wholeLength, isInFragment) = (box.end, false)
            default: break
            }
            position = box.end
        }
        return wholeLength
    }

    /// The box that begins at `position`; `nil` where none can.
    ///
    /// A box of size 0 reaches to the end of the file, wherever that is: never known to be whole.
    private static func readBox(
        of file: borrowing FileDescriptor,
        at position: Int
    ) throws(SystemError) -> (type: String, end: Int)? {
        let header = try file.bytes(at: position, count: 16)
        guard header.count >= 8 else { return nil }
        let type = String(decoding: header[4..<8], as: UTF8.self)
        var size = bigEndian(header[..<4])
        if size == 1 {
            guard header.count == 16 else { return nil }
            size = bigEndian(header[8...])
        }
        guard size >= 8, size <= UInt64(Int32.max) << 20 else { return nil }
        return (type, position + Int(size))
    }

    private static func bigEndian(_ bytes: ArraySlice<UInt8>) -> UInt64 {
        bytes.reduce(0) { $0 << 8 | UInt64($1) }
    }
}
