import Posix

/// The boxes of a fragmented MP4 file (ISO 14496-12): a header once, then `moof` and `mdat` in turn.
package enum FragmentedMP4 {
    /// Bytes of the file up to the end of its last complete fragment; 0 without a header or a fragment.
    static func completeLength(
        of file: borrowing FileDescriptor,
        length: Int
    ) throws(SystemError) -> Int {
        var position = 0
        var completeLength = 0
        var hasHeader = false
        var isInFragment = false
        var window = Window()
        while let box = try window.box(of: file, at: position), box.end <= length {
            guard position > 0 || box.type == "ftyp" else { return 0 }
            switch box.type {
            case "moov": hasHeader = true
            case "moof": isInFragment = hasHeader
            case "mdat" where isInFragment:
                (completeLength, isInFragment) = (box.end, false)
            default: break
            }
            position = box.end
        }
        return completeLength
    }

    /// A piece of the file with the headers of many small boxes, so that not each needs a system call; at most 64 KiB.
    private struct Window {
        private static let maxBytes = 64 << 10
        private var start = 0
        private var bytes: [UInt8] = []
        private var count = BoxHeader.maxBytes

        /// The box that begins at `position`; `nil` if none can begin there.
        mutating func box(
            of file: borrowing FileDescriptor,
            at position: Int
        ) throws(SystemError) -> (type: String, end: Int)? {
            if position - start + BoxHeader.maxBytes > bytes.count {
                // Grows while boxes are small: media is larger than any window.
                let isNear = position - start <= Self.maxBytes
                count = isNear ? min(Self.maxBytes, count * 4) : BoxHeader.maxBytes
                (start, bytes) = (position, try file.bytes(at: position, count: count))
            }
            let header = bytes.dropFirst(position - start)
            return BoxHeader(header).map { ($0.type, position.addingWithSaturation($0.size)) }
        }
    }

    /// Whether `bytes` are the header of a file: complete boxes, `ftyp` first, and a `moov`.
    package static func isHeader(_ bytes: [UInt8]) -> Bool {
        var (first, hasMovie) = (String?.none, false)
        let areComplete = forEachType(of: bytes) { type in
            first = first ?? type
            hasMovie = hasMovie || type == "moov"
        }
        return areComplete && first == "ftyp" && hasMovie
    }

    /// Whether `bytes` are complete boxes, and among them fragments: each `moof` with its `mdat`.
    package static func isFragments(_ bytes: [UInt8]) -> Bool {
        var (first, last, hasMovie) = (String?.none, String?.none, false)
        let areComplete = forEachType(of: bytes) { type in
            hasMovie = hasMovie || type == "moov"
            guard type == "moof" || type == "mdat" else { return }
            (first, last) = (first ?? type, type)
        }
        return areComplete && !hasMovie && first == "moof" && last == "mdat"
    }

    /// Calls `body` with the type of each box, of which there may be millions; whether the boxes extend to the last byte.
    private static func forEachType(of bytes: [UInt8], _ body: (String) -> Void) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            guard let box = BoxHeader(rest), box.size <= rest.count else { return false }
            body(box.type)
            rest = rest.dropFirst(box.size)
        }
        return true
    }
}

/// The start of a box of MP4 (ISO 14496-12, section 4.2).
private struct BoxHeader {
    static let maxBytes = 16

    /// Four characters, such as `moof`.
    let type: String
    /// Bytes of the complete box, this header included.
    let size: Int

    /// Parses the first of `bytes`; `nil` if no box can begin there.
    ///
    /// A box of size 0 extends to the end of the file, so that it is never known to be complete.
    init?(_ bytes: ArraySlice<UInt8>) {
        let header = bytes.prefix(Self.maxBytes)
        guard header.count >= 8 else { return nil }
        var size = Self.bigEndian(header.prefix(4))
        if size == 1 {
            guard header.count == Self.maxBytes else { return nil }
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

extension FragmentedMP4 {
    /// The length of the header that a segment begins with, if it initializes itself: up to the end of its `moov`.
    package static func headerLength(of segment: [UInt8]) -> Int? {
        var rest = segment[...]
        while let box = BoxHeader(rest), box.size <= rest.count, box.type != "moof" {
            rest = rest.dropFirst(box.size)
            guard box.type == "moov" else { continue }
            let header = [UInt8](segment[..<rest.startIndex])
            return isHeader(header) ? header.count : nil
        }
        return nil
    }
}
