import Fetch
import FoundationEssentials
import Posix

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
    /// What was read although it should not have been written so.
    var deviations: Set<PlaylistDeviation> = []
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
    /// Whether a tag that it needs cannot be read: its media cannot be had.
    var isUnreadable = false
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

    init(_ text: String, in document: PlaylistDocument) {
        (self.text, self.document) = (text, document)
    }

    /// An absolute address.
    init(_ url: URL) {
        (text, document) = (url.absoluteString, PlaylistDocument(at: url))
    }

    /// The absolute address; a name such as `12:30.ts` or `part:1.ts` is one of a file, not of a scheme.
    func resolved() throws(URLPolicyError) -> URL {
        do throws(URLPolicyError) {
            return try URLPolicy.resolve(text, at: document.url)
        } catch  where hasColonInFirstComponent {
            return try URLPolicy.resolve("./" + text, at: document.url)
        }
    }

    /// RFC 3986, section 4.2, demands `./` in front of such a name.
    private var hasColonInFirstComponent: Bool {
        let component = text.prefix { !"/?#".contains($0) }
        guard let colon = component.firstIndex(of: ":") else { return false }
        return !text[colon...].hasPrefix("://")
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
    var key: SegmentKey?
}

/// `EXT-X-KEY` of `METHOD=AES-128`, with a plain key (`KEYFORMAT="identity"`).
struct SegmentKey: Hashable, Sendable {
    static let byteCount = 16

    /// Where the key's 16 bytes are.
    enum Source: Hashable, Sendable {
        case address(MediaReference)
        /// In the playlist itself, as a `data:` URI (RFC 2397).
        case inline([UInt8])
    }

    enum InitializationVector: Hashable, Sendable {
        /// 16 bytes.
        case given([UInt8])
        /// The number of the segment, which is not known before the whole playlist has been read.
        case number(UInt64)
    }

    let source: Source
    var initializationVector: InitializationVector

    /// Reads a `URI`; `nil` where it is a `data:` URI that cannot be read.
    static func source(_ reference: String, in document: PlaylistDocument) -> Source? {
        guard reference.prefix(5).lowercased() == "data:" else {
            return .address(MediaReference(reference, in: document))
        }
        let parts = reference.dropFirst(5).split(
            separator: ",",
            maxSplits: 1,
            omittingEmptySubsequences: false
        )
        guard parts.count == 2 else { return nil }
        let content = percentDecoded(parts[1].utf8)
        guard parts[0].lowercased().hasSuffix(";base64") else { return .inline(content) }
        return Data(base64Encoded: Data(content)).map { .inline([UInt8]($0)) }
    }

    private static func percentDecoded(_ text: Substring.UTF8View) -> [UInt8] {
        var (decoded, rest): ([UInt8], Substring.UTF8View) = ([], text)
        while let byte = rest.popFirst() {
            let digits = Substring(rest.prefix(2))
            guard byte == UInt8(ascii: "%"), digits.utf8.count == 2,
                let value = UInt8(digits, radix: 16)
            else {
                decoded.append(byte)
                continue
            }
            decoded.append(value)
            rest = rest.dropFirst(2)
        }
        return decoded
    }

    /// The 16 bytes that decryption starts with (RFC 8216, section 5.2).
    var vectorBytes: [UInt8] {
        switch initializationVector {
        case .given(let bytes): bytes
        case .number(let number):
            [UInt8](repeating: 0, count: 8)
                + stride(from: 56, through: 0, by: -8).map {
                    UInt8(truncatingIfNeeded: number >> $0)
                }
        }
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
    private let imported: PlaylistVariables
    private let limits: Playlist.Limits
    private var lines: PlaylistLines
    private var playlist = MediaPlaylist()
    private var targetDuration: Duration?
    private var hasMediaTag = false
    private var skipped: UInt64 = 0
    private var variables = PlaylistVariables()
    private var next = NextSegment()
    private var encryption = EncryptionState()
    private var map: InitializationSection?

    /// Parses all lines; `imported` are the variables of the master playlist, for `EXT-X-DEFINE:IMPORT`.
    static func parse(
        _ lines: PlaylistLines,
        from base: URL,
        importing imported: PlaylistVariables,
        limits: Playlist.Limits
    ) throws(PlaylistError) -> MediaPlaylist {
        var parser = MediaPlaylistParser(
            document: PlaylistDocument(at: base),
            imported: imported,
            limits: limits,
            lines: lines
        )
        while let line = try parser.lines.next() {
            switch line {
            case .tag(let tag, let value): try parser.takeTag(tag, value)
            case .address(let address): try parser.takeAddress(address)
            }
        }
        return try parser.finish()
    }

    private init(
        document: PlaylistDocument,
        imported: PlaylistVariables,
        limits: Playlist.Limits,
        lines: PlaylistLines
    ) {
        (self.document, self.imported, self.limits, self.lines) = (
            document, imported, limits, lines
        )
    }

    private mutating func takeTag(_ tag: String, _ value: Substring) throws(PlaylistError) {
        hasMediaTag = hasMediaTag || Playlist.mediaTags.contains(tag)
        switch tag {
        case "EXTINF":
            // The comma is left out by some.
            let comma = value.utf8.firstIndex(of: UInt8(ascii: ",")) ?? value.endIndex
            next.duration = seconds(value[..<comma].trimmingBlanks())
            next.title = String(value[comma...].dropFirst())
        case "EXT-X-TARGETDURATION": targetDuration = seconds(value)
        case "EXT-X-MEDIA-SEQUENCE": playlist.mediaSequence = number(value)
        case "EXT-X-DISCONTINUITY-SEQUENCE": playlist.discontinuitySequence = number(value)
        case "EXT-X-KEY": takeKey(attributes(value))
        case "EXT-X-MAP": try takeMap(attributes(value))
        case "EXT-X-BYTERANGE": next.range = value
        case "EXT-X-DISCONTINUITY": next.isDiscontinuous = true
        case "EXT-X-GAP": next.isGap = true
        case "EXT-X-PROGRAM-DATE-TIME": next.programDateTime = String(value)
        case "EXT-X-START": playlist.startOffset = startOffset(attributes(value))
        case "EXT-X-ENDLIST": playlist.hasEnded = true
        case "EXT-X-DEFINE":
            let query = document.url.query(percentEncoded: false)
            variables.define(attributes(value), query: query, imported: imported)
        case "EXT-X-SKIP":
            playlist.deviations.insert(.delta)
            skipped = UInt64(attributes(value)["SKIPPED-SEGMENTS"] ?? "") ?? 0
        case "EXT-X-I-FRAMES-ONLY": throw lines.error(.unsupported(.iFramesOnly))
        case _ where Playlist.masterTags.contains(tag): playlist.deviations.insert(.mixedKinds)
        // RFC 8216, section 6.3.1: unknown tags are ignored; so are those of low latency, whose parts come again as
        // complete segments.
        default: break
        }
    }

    private mutating func takeAddress(_ address: String) throws(PlaylistError) {
        guard playlist.segments.count < limits.segments else {
            throw lines.error(.tooManySegments(limit: limits.segments))
        }
        var segment = MediaSegment(address: reference(address), duration: next.duration ?? .zero)
        if next.duration == nil { playlist.deviations.insert(.duration) }
        if let text = next.range {
            // A range without an offset begins where that of the segment before ends, in the same resource.
            let previous = playlist.segments.last.flatMap {
                $0.address == segment.address ? $0.range : nil
            }
            segment.range = ByteRange(text, from: previous?.end ?? 0)
            segment.isUnreadable = segment.range == nil
            if segment.isUnreadable { playlist.deviations.insert(.byteRange) }
        }
        (segment.title, segment.programDateTime) = (next.title, next.programDateTime)
        (segment.isDiscontinuous, segment.isGap) = (next.isDiscontinuous, next.isGap)
        segment.key = try key()
        segment.map = map
        playlist.segments.append(segment)
        next = NextSegment()
    }

    /// Numbers the segments, and replaces unknown durations; only now is it known where to begin.
    ///
    /// - Throws: `.notAPlaylist` where no tag speaks of media: a text that is cut off, or of another kind.
    private consuming func finish() throws(PlaylistError) -> MediaPlaylist {
        guard targetDuration != nil || hasMediaTag else {
            throw PlaylistError(line: 0, reason: .notAPlaylist)
        }
        playlist.deviations.formUnion(lines.deviations)
        let longest = playlist.segments.lazy.map(\.duration).max() ?? .zero
        if targetDuration == nil { playlist.deviations.insert(.targetDuration) }
        playlist.targetDuration = targetDuration ?? (longest > .zero ? longest : .seconds(5))
        let count = UInt64(playlist.segments.count)
        let first = playlist.mediaSequence.addingWithSaturation(skipped)
        if first > .max - count || playlist.discontinuitySequence > .max - count {
            playlist.deviations.insert(.sequence)
        }
        playlist.mediaSequence = first > .max - count ? 0 : first
        if playlist.discontinuitySequence > .max - count { playlist.discontinuitySequence = 0 }
        var numbered: (written: InitializationSection?, with: InitializationSection?) = (nil, nil)
        for index in playlist.segments.indices {
            let number = playlist.mediaSequence + UInt64(index)
            playlist.segments[index].sequence = number
            if playlist.segments[index].duration == .zero {
                playlist.segments[index].duration = playlist.targetDuration
            }
            if case .number = playlist.segments[index].key?.initializationVector {
                playlist.segments[index].key?.initializationVector = .number(number)
            }
            // RFC 8216, section 4.3.2.5, demands a vector for a section; without one, that of its first segment is meant.
            guard let section = playlist.segments[index].map else { continue }
            if section != numbered.written {
                numbered = (section, section)
                if case .number = section.key?.initializationVector {
                    numbered.with?.key?.initializationVector = .number(number)
                }
            }
            playlist.segments[index].map = numbered.with
        }
        return playlist
    }
}

extension MediaPlaylistParser {
    private mutating func takeKey(_ attributes: AttributeList) {
        switch (attributes["METHOD"], attributes["KEYFORMAT"] ?? "identity") {
        case (nil, _): playlist.deviations.insert(.key)
        case ("NONE", _): encryption = EncryptionState()
        case ("AES-128", "identity"):
            if let key = aesKey(attributes) {
                encryption.key = key
            } else {
                playlist.deviations.insert(.key)
            }
        // The same key may be offered in another format beside the plain one.
        case ("AES-128", _): encryption.isForeign = true
        case (_, "identity"): (encryption.key, encryption.isForeign) = (nil, true)
        default: encryption.isForeign = true
        }
    }

    private mutating func aesKey(_ attributes: AttributeList) -> SegmentKey? {
        guard let reference = attributes["URI"].map({ variables.replaced(in: $0) }),
            let source = SegmentKey.source(reference, in: document)
        else { return nil }
        let vector = attributes["IV"].map(SegmentKey.initializationVector)
        if case .some(nil) = vector { playlist.deviations.insert(.key) }
        return SegmentKey(
            source: source,
            initializationVector: (vector ?? nil).map { .given($0) } ?? .number(0)
        )
    }

    /// The key of the current segment.
    private func key() throws(PlaylistError) -> SegmentKey? {
        guard encryption.key != nil || !encryption.isForeign else {
            throw lines.error(.unsupported(.encryption))
        }
        return encryption.key
    }

    private mutating func takeMap(_ attributes: AttributeList) throws(PlaylistError) {
        guard let reference = attributes["URI"] else {
            playlist.deviations.insert(.key)
            return
        }
        let range = attributes["BYTERANGE"].flatMap { ByteRange($0[...], from: 0) }
        if range == nil, attributes["BYTERANGE"] != nil { playlist.deviations.insert(.byteRange) }
        map = InitializationSection(
            address: self.reference(reference),
            range: range,
            key: try key()
        )
    }

    private func reference(_ text: String) -> MediaReference {
        MediaReference(variables.replaced(in: text), in: document)
    }

    private mutating func attributes(_ value: Substring) -> AttributeList {
        let list = AttributeList(value)
        if !list.isComplete { playlist.deviations.insert(.attributes) }
        return list
    }

    /// A sequence number; 0 where it cannot be read.
    private mutating func number(_ value: Substring) -> UInt64 {
        guard let number = UInt64(value) else {
            playlist.deviations.insert(.sequence)
            return 0
        }
        return number
    }
}

/// The tags of the segment whose address follows.
private struct NextSegment {
    /// `nil` when it is not known.
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
    var isForeign = false
}

private func startOffset(_ attributes: AttributeList) -> Duration? {
    guard let text = attributes["TIME-OFFSET"] else { return nil }
    guard text.first == "-" else { return seconds(text[...]) }
    return seconds(text.dropFirst()).map { .zero - $0 }
}

/// A number of seconds up to a million; `nil` for anything else, negative numbers included.
private func seconds(_ text: Substring) -> Duration? {
    guard let value = Double(text), value >= 0, value <= 1_000_000 else { return nil }
    return .milliseconds(Int((value * 1000).rounded()))
}
