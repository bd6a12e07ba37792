import Fetch
import FoundationEssentials

/// A media playlist (RFC 8216, section 4.3.3), as far as a recorder needs it.
struct MediaPlaylist: Equatable, Sendable {
    /// The most that a segment lasts, and the measure of how often to reload.
    var targetDuration = Duration.zero
    /// Number of the first segment.
    var mediaSequence: UInt64 = 0
    var discontinuitySequence: UInt64 = 0
    /// Whether `EXT-X-ENDLIST` says that nothing will be added.
    var hasEnded = false
    /// `EXT-X-START`: where its author would begin; a negative offset counts from the end.
    var startOffset: Duration?
    var segments: [MediaSegment] = []
}

/// A segment that a playlist names.
struct MediaSegment: Equatable, Sendable {
    /// `EXT-X-MEDIA-SEQUENCE` plus the place in the playlist.
    var sequence: UInt64 = 0
    var address: MediaReference
    /// `nil` for the whole resource.
    var range: ByteRange?
    var duration: Duration
    var title: String = ""
    /// Whether `EXT-X-DISCONTINUITY` comes before it: other encoding, or other time stamps.
    var isDiscontinuous = false
    /// Whether `EXT-X-GAP` says that its media does not exist.
    var isGap = false
    /// `EXT-X-PROGRAM-DATE-TIME`, as written.
    var programDateTime: String?
    /// `nil` when it is not encrypted.
    var key: SegmentKey?
    /// What a decoder needs before it: the header of fragmented MP4.
    var map: InitializationSection?
}

/// An address as a playlist writes it, together with where the playlist is.
///
/// It is resolved when it is used: of a hundred thousand segments, none keeps the playlist's own address.
struct MediaReference: Hashable, Sendable {
    let text: String
    private let document: PlaylistDocument

    /// Checks that the reference means an address which may be followed from the playlist.
    init(_ text: String, in document: PlaylistDocument) throws(AddressError) {
        _ = try MediaAddress.resolve(text, at: document.root)
        (self.text, self.document) = (text, document)
    }

    /// An absolute address.
    init(_ url: URL) {
        (text, document) = (url.absoluteString, PlaylistDocument(at: url))
    }

    /// - Throws: `.tooLong`, where only both together are.
    func resolved() throws(AddressError) -> URL {
        try MediaAddress.resolve(text, at: document.url)
    }

    /// For the log, without what may be secret.
    var forLog: String { (try? resolved().forLog) ?? document.root.forLog }

    /// Adds the path that the reference means; neither host nor query.
    func addPath(to hash: inout PathHash) {
        let path = text.utf8.prefix { $0 != UInt8(ascii: "?") && $0 != UInt8(ascii: "#") }
        // What only a resolution tells: another scheme or host, or steps upwards.
        let isPlain = !path.starts(with: "//".utf8) && !path.contains(UInt8(ascii: ":"))
        if !isPlain || path.starts(with: ".".utf8) || Substring(path).contains("/.") {
            hash.add(((try? resolved().path(percentEncoded: true)) ?? text).utf8)
        } else if path.first == UInt8(ascii: "/") {
            hash.add(path)
        } else {
            hash.state = path.isEmpty ? document.pathHash.state : document.folderHash.state
            hash.add(path)
        }
    }

    static func == (one: MediaReference, other: MediaReference) -> Bool {
        one.text == other.text
            && (one.document === other.document || one.document.url == other.document.url)
    }

    func hash(into hasher: inout Hasher) { hasher.combine(text) }
}

/// Where a playlist is, after all redirects.
final class PlaylistDocument: Sendable {
    let url: URL
    /// The same server's root: enough to check a reference.
    let root: URL
    fileprivate let pathHash: PathHash
    fileprivate let folderHash: PathHash

    init(at url: URL) {
        self.url = url
        root = URL(string: "/", relativeTo: url)?.absoluteURL ?? url
        let path = url.path(percentEncoded: true).utf8
        let folder = path.lastIndex(of: UInt8(ascii: "/")).map { path[...$0] } ?? path[...]
        pathHash = PathHash(path)
        folderHash = PathHash(folder)
    }
}

/// FNV-1a of 64 bits: a path that a playlist gives away costs eight bytes, however long it is.
struct PathHash: Hashable, Sendable {
    fileprivate(set) var state: UInt64 = 0xcbf2_9ce4_8422_2325

    init() {}

    init(_ bytes: some Sequence<UInt8>) { add(bytes) }

    mutating func add(_ bytes: some Sequence<UInt8>) {
        for byte in bytes { state = (state ^ UInt64(byte)) &* 0x100_0000_01b3 }
    }
}

/// `EXT-X-MAP`.
struct InitializationSection: Hashable, Sendable {
    let address: MediaReference
    let range: ByteRange?
    let key: SegmentKey?
}

/// `EXT-X-KEY` of `METHOD=AES-128`, its key as it is (`KEYFORMAT="identity"`).
struct SegmentKey: Hashable, Sendable {
    static let byteCount = 16

    /// Where the key's 16 bytes are.
    let address: MediaReference
    /// 16 bytes; `nil` when each segment's number is meant.
    let initializationVector: [UInt8]?

    /// The vector for the segment of this number (RFC 8216, section 5.2).
    func initializationVector(for sequence: UInt64) -> [UInt8] {
        initializationVector
            ?? [UInt8](repeating: 0, count: 8)
            + stride(from: 56, through: 0, by: -8).map { UInt8(truncatingIfNeeded: sequence >> $0) }
    }

    /// Reads `0x` and up to 32 hexadecimal digits, as 16 bytes.
    static func initializationVector(_ text: String) -> [UInt8]? {
        guard text.hasPrefix("0x") || text.hasPrefix("0X") else { return nil }
        let digits = text.dropFirst(2).map(\.hexDigitValue)
        guard (1...32).contains(digits.count), !digits.contains(nil) else { return nil }
        let padded = [Int](repeating: 0, count: 32 - digits.count) + digits.compactMap(\.self)
        return stride(from: 0, to: 32, by: 2).map { UInt8(padded[$0] << 4 | padded[$0 + 1]) }
    }
}
