import Glibc
package import Posix

/// How media is packed in a file; the raw value is the file's extension.
package enum MediaContainer: String, CaseIterable, Sendable {
    /// Packets of 188 bytes.
    case mpegTS = "ts"
    /// Boxes: `ftyp` and `moov` once, then pairs of `moof` and `mdat`.
    case fragmentedMP4 = "mp4"

    /// The end of a recording's name while it is written: `.ts.part`.
    var partSuffix: String { ".\(rawValue).part" }

    /// Bytes from the start of `file` that are whole packets or boxes, and so play.
    ///
    /// 0 when the file does not begin as this container does, or has not one whole unit of media.
    package func wholeLength(of file: borrowing FileDescriptor) throws(SystemError) -> Int {
        let length = Int(try file.status().st_size)
        return switch self {
        case .mpegTS: try TransportStream.wholeLength(of: file, length: length)
        case .fragmentedMP4: try FragmentedMP4.wholeLength(of: file, length: length)
        }
    }

    /// Whether a file of this kind may begin so; too few bytes may be anything.
    package func mayBegin(with media: Span<UInt8>) -> Bool {
        switch self {
        case .mpegTS: return media.isEmpty || media[0] == TransportStream.syncByte
        case .fragmentedMP4:
            guard media.count >= 8 else { return true }
            let type = (4..<8).map { media[$0] }
            return ["ftyp", "styp", "moof"].contains { Array($0.utf8) == type }
        }
    }
}
