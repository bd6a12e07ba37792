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
    private static func readBox(
        of file: borrowing FileDescriptor,
        at position: Int
    ) throws(SystemError) -> (type: String, end: Int)? {
        let bytes = try file.bytes(at: position, count: BoxHeader.mostBytes)
        return BoxHeader(bytes[...]).map { ($0.type, position + $0.size) }
    }
}
