import Glibc
import Posix

/// How media is packed in a file; the raw value is the file's extension.
enum MediaContainer: String, CaseIterable, Sendable {
    /// Packets of 188 bytes.
    case mpegTS = "ts"
    /// Boxes: `ftyp` and `moov` once, then pairs of `moof` and `mdat`.
    case fragmentedMP4 = "mp4"

    /// The end of a recording's name while it is written: `.ts.part`.
    var partSuffix: String { ".\(rawValue).part" }

    /// Bytes from the start of `file` that are whole packets or boxes, and so play.
    ///
    /// 0 when the file does not begin as this container does, or has not one whole unit of media.
    func wholeLength(of file: borrowing FileDescriptor) throws(SystemError) -> Int {
        let length = Int(try file.status().st_size)
        return switch self {
        case .mpegTS: try TransportStream.wholeLength(of: file, length: length)
        case .fragmentedMP4: try FragmentedMP4.wholeLength(of: file, length: length)
        }
    }
}
