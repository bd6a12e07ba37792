import Fetch
import FoundationEssentials
import Posix

/// The playlist of a stream: its segments, or its variants.
enum Playlist: Equatable, Sendable {
    case media(MediaPlaylist)
    case master(MasterPlaylist)

    /// The maximum size of a playlist.
    struct Limits: Equatable, Sendable {
        var bytes = 4 << 20
        var segments = 100_000
        /// Variants of a master playlist, and its renditions.
        var variants = 1000
    }

    /// Parses a playlist that was loaded from `base`, after all redirects; any bytes result in a playlist or a `PlaylistError`.
    ///
    /// - Throws: `.stopped` soon after `stop` is requested.
    static func parse(
        _ bytes: [UInt8],
        from base: URL,
        importing variables: PlaylistVariables = PlaylistVariables(),
        limits: Limits = Limits(),
        until stop: StopSignal? = nil
    ) throws(PlaylistError) -> Playlist {
        let lines = try PlaylistLines(bytes, limit: limits.bytes, until: stop)
        if try isMaster(lines) {
            return .master(try MasterPlaylistParser.parse(lines, from: base, limits: limits))
        }
        return .media(
            try MediaPlaylistParser.parse(lines, from: base, importing: variables, limits: limits)
        )
    }

    /// Whether it names variants, and no segment comes before the first of them.
    private static func isMaster(_ lines: PlaylistLines) throws(PlaylistError) -> Bool {
        var lines = lines
        var hasMasterTag = false
        while let line = try lines.next() {
            guard case .tag(let tag, _) = line else { continue }
            if tag == "EXT-X-STREAM-INF" { return true }
            if tag == "EXTINF" { return false }
            hasMasterTag = hasMasterTag || masterTags.contains(tag)
        }
        return hasMasterTag
    }

    /// Tags that only a master playlist may have.
    static let masterTags: Set = [
        "EXT-X-STREAM-INF", "EXT-X-MEDIA", "EXT-X-I-FRAME-STREAM-INF", "EXT-X-SESSION-DATA",
        "EXT-X-SESSION-KEY", "EXT-X-CONTENT-STEERING",
    ]

    /// Tags that only a media playlist may have.
    static let mediaTags: Set = [
        "EXTINF", "EXT-X-TARGETDURATION", "EXT-X-MEDIA-SEQUENCE", "EXT-X-DISCONTINUITY-SEQUENCE",
        "EXT-X-BYTERANGE", "EXT-X-KEY", "EXT-X-MAP", "EXT-X-DISCONTINUITY", "EXT-X-ENDLIST",
        "EXT-X-PLAYLIST-TYPE", "EXT-X-I-FRAMES-ONLY", "EXT-X-PROGRAM-DATE-TIME", "EXT-X-GAP",
    ]
}

/// A master playlist (RFC 8216, section 4.3.4), as far as the choice of a variant needs it.
struct MasterPlaylist: Equatable, Sendable {
    /// As listed; of two equal ones the author prefers the first.
    var variants: [Variant] = []
    /// Audio groups with a rendition that the variant's own segments contain.
    var includedAudioGroups: Set<String> = []
    /// All audio groups.
    var audioGroups: Set<String> = []
    /// What `EXT-X-DEFINE` defines, also for the media playlists.
    var variables = PlaylistVariables()
    /// What was read although it should not have been written so.
    var deviations: Set<PlaylistDeviation> = []

    /// Whether the variant's audio is in another playlist than its video.
    func hasSeparateAudio(_ variant: Variant) -> Bool {
        guard let group = variant.audioGroup else { return false }
        return audioGroups.contains(group) && !includedAudioGroups.contains(group)
    }
}

/// A variant of a stream.
struct Variant: Equatable, Sendable, CustomStringConvertible {
    var url: URL
    /// Bits per second, at the most; 0 when it is not known.
    var bandwidth: Int
    /// Of the video, in pixels.
    var height: Int?
    var frameRate: Double?
    var codecs: [String] = []
    var audioGroup: String?

    /// Whether its codecs are known, and none is a video codec.
    var isAudioOnly: Bool {
        !codecs.isEmpty && height == nil
            && codecs.allSatisfy { codec in
                Self.audioCodecs.contains { codec == $0 || codec.hasPrefix($0 + ".") }
            }
    }

    private static let audioCodecs = [
        "mp4a", "ac-3", "ec-3", "ac-4", "opus", "flac", "fLaC", "alac",
    ]

    /// Whether it is the same encoding, perhaps at another address.
    func isAlike(_ other: Variant) -> Bool {
        bandwidth == other.bandwidth && height == other.height && frameRate == other.frameRate
            && codecs == other.codecs
    }

    /// Such as `720p 2500k`.
    var description: String {
        let rate = bandwidth > 0 ? "\(bandwidth / 1000)k" : nil
        let parts = [height.map { "\($0)p" }, rate].compactMap(\.self)
        return parts.isEmpty ? "without attributes" : parts.joined(separator: " ")
    }
}

/// Parses a master playlist, line by line.
struct MasterPlaylistParser {
    private let base: URL
    private let limits: Playlist.Limits
    private var lines: PlaylistLines
    private var playlist = MasterPlaylist()
    /// The attributes of the variant whose address follows.
    private var variant: AttributeList?
    private var renditions = 0

    static func parse(
        _ lines: PlaylistLines,
        from base: URL,
        limits: Playlist.Limits
    ) throws(PlaylistError) -> MasterPlaylist {
        var parser = MasterPlaylistParser(lines: lines, base: base, limits: limits)
        while let line = try parser.lines.next() {
            switch line {
            case .tag(let tag, let value): try parser.takeTag(tag, value)
            case .address(let address): try parser.takeAddress(address)
            }
        }
        if parser.variant != nil { parser.playlist.deviations.insert(.variant) }
        parser.playlist.deviations.formUnion(parser.lines.deviations)
        return parser.playlist
    }

    private init(lines: PlaylistLines, base: URL, limits: Playlist.Limits) {
        (self.lines, self.base, self.limits) = (lines, base, limits)
    }

    private mutating func takeTag(_ tag: String, _ value: Substring) throws(PlaylistError) {
        switch tag {
        case "EXT-X-STREAM-INF":
            if variant != nil { playlist.deviations.insert(.variant) }
            variant = attributes(value)
        case "EXT-X-MEDIA": try takeRendition(attributes(value))
        case "EXT-X-DEFINE":
            let query = base.query(percentEncoded: false)
            playlist.variables.define(
                attributes(value),
                query: query,
                imported: PlaylistVariables()
            )
        case _ where Playlist.mediaTags.contains(tag): playlist.deviations.insert(.mixedKinds)
        default: break
        }
    }

    /// An audio rendition without an address is in the segments of its variants (section 4.3.4.2.1).
    private mutating func takeRendition(_ attributes: AttributeList) throws(PlaylistError) {
        renditions += 1
        guard renditions <= limits.variants else {
            throw lines.error(.tooManyVariants(limit: limits.variants))
        }
        guard let type = attributes["TYPE"], let group = attributes["GROUP-ID"] else {
            playlist.deviations.insert(.attributes)
            return
        }
        guard type == "AUDIO" else { return }
        playlist.audioGroups.insert(group)
        if attributes["URI"] == nil { playlist.includedAudioGroups.insert(group) }
    }

    /// A variant whose address cannot be requested is none.
    private mutating func takeAddress(_ address: String) throws(PlaylistError) {
        guard let attributes = variant else {
            playlist.deviations.insert(.variant)
            return
        }
        guard playlist.variants.count < limits.variants else {
            throw lines.error(.tooManyVariants(limit: limits.variants))
        }
        variant = nil
        let document = PlaylistDocument(at: base)
        let reference = MediaReference(playlist.variables.replaced(in: address), in: document)
        do throws(URLPolicyError) {
            playlist.variants.append(makeVariant(at: try reference.resolved(), attributes))
        } catch {
            playlist.deviations.insert(.address)
        }
    }

    /// An attribute that cannot be read is not known; nothing else of the variant suffers.
    private mutating func makeVariant(at url: URL, _ attributes: AttributeList) -> Variant {
        var variant = Variant(url: url, bandwidth: 0)
        let bandwidth = attributes["BANDWIDTH"] ?? attributes["AVERAGE-BANDWIDTH"]
        if let rate = bandwidth.flatMap({ Double($0) }), rate >= 0, rate < 1e15 {
            variant.bandwidth = Int(rate)
            if decimal(bandwidth ?? "") == nil { playlist.deviations.insert(.variant) }
        } else {
            playlist.deviations.insert(.variant)
        }
        if let text = attributes["RESOLUTION"] {
            let sides = text.lowercased().split(separator: "x", omittingEmptySubsequences: false)
            variant.height = sides.count == 2 && decimal(sides[0]) != nil ? decimal(sides[1]) : nil
            if variant.height == nil { playlist.deviations.insert(.variant) }
        }
        if let text = attributes["FRAME-RATE"] {
            variant.frameRate = Double(text).flatMap { $0.isFinite && $0 >= 0 ? $0 : nil }
            if variant.frameRate == nil { playlist.deviations.insert(.variant) }
        }
        let codecs = (attributes["CODECS"] ?? "").split(separator: ",")
        variant.codecs = codecs.map { $0.filter { $0 != " " } }
        variant.audioGroup = attributes["AUDIO"]
        return variant
    }

    private mutating func attributes(_ value: Substring) -> AttributeList {
        let list = AttributeList(value)
        if !list.isComplete { playlist.deviations.insert(.attributes) }
        return list
    }
}

/// Which variant of a master playlist to record.
package enum Quality: Equatable, Sendable {
    case best
    case worst
    /// The tallest variant up to this height; else the smallest.
    case height(Int)
    /// The best variant up to so many bits per second; else the lowest.
    case bandwidth(Int)

    /// Parses `best`, `worst`, `720p`, or a bandwidth such as `2500k` or `6M`.
    package init?(text: String) {
        switch text {
        case "best": self = .best
        case "worst": self = .worst
        default:
            guard let unit = text.last, let number = decimal(text.dropLast()), number > 0,
                number < 1_000_000
            else { return nil }
            switch unit {
            case "p": self = .height(number)
            case "k": self = .bandwidth(number * 1000)
            case "M": self = .bandwidth(number * 1_000_000)
            default: return nil
            }
        }
    }
}

extension MasterPlaylist {
    /// The variant to record: preferably with video, and only with its audio in its own segments.
    ///
    /// - Throws: an error if there is none, because a recording without audio would be noticed too late.
    func variant(for quality: Quality) throws(PlaylistError) -> Variant {
        let whole = variants.filter { !hasSeparateAudio($0) }
        let pictures = whole.filter { !$0.isAudioOnly }
        let candidates = pictures.isEmpty && !hasPictures ? whole : pictures
        guard let chosen = candidates.chosen(for: quality) else {
            let reason: PlaylistError.Reason =
                variants.isEmpty ? .noVariants : .unsupported(.separateAudio)
            throw PlaylistError(line: 0, reason: reason)
        }
        return chosen
    }

    private var hasPictures: Bool { variants.contains { !$0.isAudioOnly } }
}

extension [Variant] {
    fileprivate func chosen(for quality: Quality) -> Variant? {
        switch quality {
        case .best: return best
        case .worst: return worst
        case .height(let height):
            return filter { ($0.height ?? 0) <= height }.best ?? leastTall
        case .bandwidth(let bandwidth):
            return filter { $0.bandwidth <= bandwidth }.best ?? first { $0.bandwidth == least }
        }
    }

    // Of equal variants both choose the first: the others are alternatives for when it fails.
    private var best: Variant? { self.max { $0.rank < $1.rank } }
    private var worst: Variant? { self.min { $0.rank < $1.rank } }
    private var leastTall: Variant? { filter { $0.height == compactMap(\.height).min() }.best }
    private var least: Int? { map(\.bandwidth).min() }
}

extension Variant {
    /// Height, frame rate and bandwidth, in this order; a missing value counts as 0.
    fileprivate var rank: (Int, Double, Int) { (height ?? 0, frameRate ?? 0, bandwidth) }
}
