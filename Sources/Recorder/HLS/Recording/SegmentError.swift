import Fetch

/// Why a segment could not be had.
enum SegmentError: Error, Equatable, CustomStringConvertible {
    case address(AddressError)
    case fetch(FetchError)
    case key(FetchError)
    case keySize(bytes: Int)
    case decryption
    case map(FetchError)
    case notTransportStream(bytes: Int)
    /// No whole boxes with a `moof` and an `mdat`.
    case notFragments(bytes: Int)
    /// An initialization section without `ftyp` and `moov`.
    case notHeader(bytes: Int)

    var description: String {
        switch self {
        case .address(let error): error.description
        case .fetch(let error): error.description
        case .key(let error): "key: \(error)"
        case .keySize(let bytes): "key of \(bytes) bytes"
        case .decryption: "does not decrypt"
        case .map(let error): "EXT-X-MAP: \(error)"
        case .notTransportStream(let bytes): "\(bytes) bytes that are not a transport stream"
        case .notFragments(let bytes): "\(bytes) bytes that are not whole MP4 fragments"
        case .notHeader(let bytes): "EXT-X-MAP: \(bytes) bytes that are not an MP4 header"
        }
    }
}
