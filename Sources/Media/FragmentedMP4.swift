package import Posix

/// The boxes of a fragmented MP4 file (ISO 14496-12): a header once, then `moof` and `mdat` in turn.
package enum FragmentedMP4 {
    /// Bytes of the file up to the end of its last whole fragment; 0 without a header or a fragment.
    package static func wholeLength(
        of file: borrowing FileDescriptor,
        length: Int
    ) throws(SystemError) -> Int {
        var position = 0
        var wholeLength = 0
        var hasHeader = false
        var isInFragment = false
        var window = Window()
        while let box = try window.box(of: file, at: position), box.end <= length {
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

    /// A piece of the file that holds the headers of many boxes, where they are small: not a system call for each.
    private struct Window {
        private static let maxBytes = 64 << 10
        private var start = 0
        private var bytes: [UInt8] = []
        private var count = BoxHeader.mostBytes

        /// The box that begins at `position`; `nil` where none can.
        mutating func box(
            of file: borrowing FileDescriptor,
            at position: Int
        ) throws(SystemError) -> (type: String, end: Int)? {
            if position - start + BoxHeader.mostBytes > bytes.count {
                // Grows from small box to small box: media is larger than any window.
                let isNear = position - start <= Self.maxBytes
                count = isNear ? min(Self.maxBytes, count * 4) : BoxHeader.mostBytes
                (start, bytes) = (position, try file.bytes(at: position, count: count))
            }
            let header = bytes.dropFirst(position - start)
            return BoxHeader(header).map { ($0.type, position.addingWithSaturation($0.size)) }
        }
    }
}
