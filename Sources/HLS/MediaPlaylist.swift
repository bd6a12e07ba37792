import Fetch
import FoundationEssentials

/// A media playlist (RFC 8216, section 4.3.3), as far as a recorder needs it.
struct MediaPlaylist: Equatable, Sendable {
    /// The maximum duration of a segment, and the interval of reloads.
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
    /// `nil` for the complete resource.
    var range: ByteRange?
    var duration: Duration
    var title: String = ""
    /// Whether `EXT-X-DISCONTINUITY` precedes it: another encoding, or other time stamps.
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

/// An address as a playlist writes it, with the address of the playlist.
///
/// It is resolved when it is used, so that a hundred thousand segments do not each contain the playlist's address.
struct MediaReference: Hashable, Sendable {
    let text: String
    private let document: PlaylistDocument

    /// Checks that the reference may be followed from the playlist.
    init(_ text: String, in document: PlaylistDocument) throws(URLPolicyError) {
        _ = try URLPolicy.resolve(text, at: document.root)
        (self.text, self.document) = (text, document)
    }

    /// An absolute address.
    init(_ url: URL) {
        (text, document) = (url.absoluteString, PlaylistDocument(at: url))
    }

    /// - Throws: `.tooLong`, if only both together are.
    func resolved() throws(URLPolicyError) -> URL {
        try URLPolicy.resolve(text, at: document.url)
    }

    /// For the log, without secrets.
    var redacted: String { (try? resolved().redacted) ?? document.root.redacted }

    /// Adds the path of the address; neither host nor query.
    func addPath(to hash: inout PathHash) {
        let path = text.utf8.prefix { $0 != UInt8(ascii: "?") && $0 != UInt8(ascii: "#") }
        // Needs to be resolved: another scheme or host, or steps upwards.
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
    /// The root of the same server: enough to check a reference.
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

/// FNV-1a of 64 bits: any path takes eight bytes.
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

/// `EXT-X-KEY` of `METHOD=AES-128`, with a plain key (`KEYFORMAT="identity"`).
struct SegmentKey: Hashable, Sendable {
    static let byteCount = 16

    /// Where the key's 16 bytes are.
    let address: MediaReference
    /// 16 bytes; `nil` if the number of each segment is the vector.
    let initializationVector: [UInt8]?

    /// The vector for the segment of this number (RFC 8216, section 5.2).
    func initializationVector(for sequence: UInt64) -> [UInt8] {
        initializationVector
            ?? [UInt8](repeating: 0, count: 8)
            + stride(from: 56, through: 0, by: -8).map { UInt8(truncatingIfNeeded: sequence >> $0) }
    }

    /// Parses `0x` and up to 32 hexadecimal digits, as 16 bytes.
    static func initializationVector(_ text: String) -> [UInt8]? {
        guard text.hasPrefix("0x") || text.hasPrefix("0X") else { return nil }
        let digits = text.dropFirst(2).map(\.hexDigitValue)
        guard (1...32).contains(digits.count), !digits.contains(nil) else { return nil }
        let padded = [Int](repeating: 0, count: 32 - digits.count) + digits.compactMap(\.self)
        return stride(from: 0, to: 32, by: 2).map { UInt8(padded[$0] << 4 | padded[$0 + 1]) }
    }
}

/// Parses a media playlist, line by line.
struct MediaPlaylistParser {
    private let document: PlaylistDocument
    private let limits: Playlist.Limits
    private var lines: PlaylistLines
    private var playlist = MediaPlaylist()
    private var targetDuration: Duration?
    private var next = NextSegment()
    private var encryption = EncryptionState()
    private var map: InitializationSection?

    static func parse(
        _ lines: PlaylistLines,
        from base: URL,
        limits: Playlist.Limits
    ) throws(PlaylistError) -> MediaPlaylist {
        var parser = MediaPlaylistParser(lines: lines, base: base, limits: limits)
        while let line = try parser.lines.next() {
            switch line {
            case .tag(let tag, let value): try parser.takeTag(tag, value)
            case .address(let address): try parser.takeAddress(address)
            }
        }
        return try parser.finish()
    }

    private init(lines: PlaylistLines, base: URL, limits: Playlist.Limits) {
        (self.lines, document, self.limits) = (lines, PlaylistDocument(at: base), limits)
    }

    private mutating func takeTag(_ tag: String, _ value: Substring) throws(PlaylistError) {
        switch tag {
        case "EXTINF": try takeDuration(value)
        case "EXT-X-TARGETDURATION": targetDuration = try parsed(value, of: tag, as: seconds)
        case "EXT-X-MEDIA-SEQUENCE":
            playlist.mediaSequence = try parsed(value, of: tag) { UInt64($0) }
        case "EXT-X-DISCONTINUITY-SEQUENCE":
            playlist.discontinuitySequence = try parsed(value, of: tag) { UInt64($0) }
        case "EXT-X-KEY": try takeKey(value)
        case "EXT-X-MAP": try takeMap(value)
        case "EXT-X-BYTERANGE": next.range = value
        case "EXT-X-DISCONTINUITY": next.isDiscontinuous = true
        case "EXT-X-GAP": next.isGap = true
        case "EXT-X-PROGRAM-DATE-TIME": next.programDateTime = String(value)
        case "EXT-X-START": playlist.startOffset = try parsed(value, of: tag, as: startOffset)
        case "EXT-X-ENDLIST": playlist.hasEnded = true
        case "EXT-X-I-FRAMES-ONLY": throw lines.error(.unsupported(.iFramesOnly))
        case "EXT-X-DEFINE": throw lines.error(.unsupported(.variables))
        case "EXT-X-SKIP": throw lines.error(.unrequestedDelta)
        case _ where Playlist.masterTags.contains(tag): throw lines.error(.mixedKinds(tag: tag))
        // RFC 8216, section 6.3.1: unknown tags are ignored; so are those of low latency, whose parts are repeated as
        // complete segments.
        default: break
        }
    }

    /// `EXTINF:duration,title`; some servers omit the comma.
    private mutating func takeDuration(_ value: Substring) throws(PlaylistError) {
        let comma = value.utf8.firstIndex(of: UInt8(ascii: ",")) ?? value.endIndex
        next.duration = try parsed(value[..<comma], of: "EXTINF", as: seconds)
        next.title = String(value[comma...].dropFirst())
    }

    private mutating func takeAddress(_ address: String) throws(PlaylistError) {
        guard playlist.segments.count < limits.segments else {
            throw lines.error(.tooManySegments(limit: limits.segments))
        }
        guard let duration = next.duration else { throw lines.error(.durationMissing) }
        var segment = MediaSegment(address: try reference(address), duration: duration)
        segment.range = try range(of: segment.address)
        (segment.title, segment.programDateTime) = (next.title, next.programDateTime)
        (segment.isDiscontinuous, segment.isGap) = (next.isDiscontinuous, next.isGap)
        segment.key = try key()
        segment.map = map
        playlist.segments.append(segment)
        next = NextSegment()
    }

    /// Numbers the segments, once the first number is known.
    private consuming func finish() throws(PlaylistError) -> MediaPlaylist {
        guard let targetDuration else {
            throw PlaylistError(line: 0, reason: .targetDurationMissing)
        }
        playlist.targetDuration = targetDuration
        let count = UInt64(playlist.segments.count)
        guard playlist.mediaSequence <= .max - count else {
            throw PlaylistError(line: 0, reason: .badValue(tag: "EXT-X-MEDIA-SEQUENCE"))
        }
        guard playlist.discontinuitySequence <= .max - count else {
            throw PlaylistError(line: 0, reason: .badValue(tag: "EXT-X-DISCONTINUITY-SEQUENCE"))
        }
        for index in playlist.segments.indices {
            playlist.segments[index].sequence = playlist.mediaSequence + UInt64(index)
        }
        return playlist
    }
}

extension MediaPlaylistParser {
    private mutating func takeKey(_ value: Substring) throws(PlaylistError) {
        let tag = "EXT-X-KEY"
        let attributes = try parsed(value, of: tag) { AttributeList($0) }
        switch (attributes["METHOD"], attributes["KEYFORMAT"] ?? "identity") {
        case (nil, _): throw lines.error(.badValue(tag: tag))
        case ("NONE", _): encryption = EncryptionState()
        case ("AES-128", "identity"): encryption.key = try aesKey(attributes)
        // The same key may be offered in another format beside the plain one.
        case ("AES-128", _): encryption.isUnsupported = true
        case (_, "identity"): (encryption.key, encryption.isUnsupported) = (nil, true)
        default: encryption.isUnsupported = true
        }
    }

    private func aesKey(_ attributes: AttributeList) throws(PlaylistError) -> SegmentKey {
        let tag = "EXT-X-KEY"
        guard let reference = attributes["URI"] else { throw lines.error(.badValue(tag: tag)) }
        let vector = attributes["IV"].map(SegmentKey.initializationVector)
        // Present and invalid is not the same as absent.
        if case .some(nil) = vector { throw lines.error(.badValue(tag: tag)) }
        return SegmentKey(
            address: try self.reference(reference),
            initializationVector: vector ?? nil
        )
    }

    /// The key of the current segment.
    private func key() throws(PlaylistError) -> SegmentKey? {
        guard encryption.key != nil || !encryption.isUnsupported else {
            throw lines.error(.unsupported(.encryption))
        }
        return encryption.key
    }

    private mutating func takeMap(_ value: Substring) throws(PlaylistError) {
        let tag = "EXT-X-MAP"
        let attributes = try parsed(value, of: tag) { AttributeList($0) }
        guard let reference = attributes["URI"] else { throw lines.error(.badValue(tag: tag)) }
        let range: ByteRange? =
            if let text = attributes["BYTERANGE"] {
                try parsed(text[...], of: tag) { ByteRange($0, from: nil) }
            } else { nil }
        // A section has no number that could be the vector: RFC 8216, section 4.3.2.5, requires an explicit one.
        if let key = encryption.key, key.initializationVector == nil {
            throw lines.error(.badValue(tag: tag))
        }
        map = InitializationSection(
            address: try self.reference(reference),
            range: range,
            key: try key()
        )
    }

    /// A range without an offset begins at the end of the range of the segment before, in the same resource.
    private func range(of address: MediaReference) throws(PlaylistError) -> ByteRange? {
        guard let text = next.range else { return nil }
        let previous = playlist.segments.last.flatMap { $0.address == address ? $0.range : nil }
        return try parsed(text, of: "EXT-X-BYTERANGE") { ByteRange($0, from: previous?.end) }
    }

    private func reference(_ text: String) throws(PlaylistError) -> MediaReference {
        do throws(URLPolicyError) {
            return try MediaReference(text, in: document)
        } catch {
            throw lines.error(.addressRefused(error))
        }
    }

    private func parsed<Value>(
        _ text: Substring,
        of tag: String,
        as parse: (Substring) -> Value?
    ) throws(PlaylistError) -> Value {
        guard let value = parse(text) else { throw lines.error(.badValue(tag: tag)) }
        return value
    }
}

/// The tags of the segment whose address follows.
private struct NextSegment {
    var duration: Duration?
    var title = ""
    var range: Substring?
    var isDiscontinuous = false
    var isGap = false
    var programDateTime: String?
}

/// The encryption of the following segments: any of their keys can decrypt them.
private struct EncryptionState {
    var key: SegmentKey?
    /// Whether there is a key that this recorder cannot use.
    var isUnsupported = false
}

private func startOffset(_ value: Substring) -> Duration? {
    guard let text = AttributeList(value)?["TIME-OFFSET"] else { return nil }
    guard text.first == "-" else { return seconds(text[...]) }
    return seconds(text.dropFirst()).map { .zero - $0 }
}

/// A decimal number of seconds, up to a million; nothing else that `Double` accepts, such as `nan` or `1e9`.
private func seconds(_ text: Substring) -> Duration? {
    let isDecimal = text.utf8.allSatisfy { byte in
        byte == UInt8(ascii: ".") || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }
    guard isDecimal, let value = Double(text), value <= 1_000_000 else { return nil }
    return .milliseconds(Int((value * 1000).rounded()))
}
