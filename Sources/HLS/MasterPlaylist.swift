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
        limits: Limits = Limits(),
        until stop: StopSignal? = nil
    ) throws(PlaylistError) -> Playlist {
        let lines = try PlaylistLines(bytes, limit: limits.bytes, until: stop)
        if try isMaster(lines) {
            return .master(try MasterPlaylistParser.parse(lines, from: base, limits: limits))
        }
        return .media(try MediaPlaylistParser.parse(lines, from: base, limits: limits))
    }

    /// Whether the first tag that only one kind of playlist has is of a master playlist (RFC 8216, section 4.3).
    private static func isMaster(_ lines: PlaylistLines) throws(PlaylistError) -> Bool {
        var lines = lines
        while let line = try lines.next() {
            guard case .tag(let tag, _) = line else { return false }
            if masterTags.contains(tag) { return true }
            if mediaTags.contains(tag) { return false }
        }
        return false
    }

    /// Tags that only master playlists have.
    static let masterTags: Set = [
        "EXT-X-STREAM-INF", "EXT-X-MEDIA", "EXT-X-I-FRAME-STREAM-INF", "EXT-X-SESSION-DATA",
        "EXT-X-SESSION-KEY", "EXT-X-CONTENT-STEERING",
    ]

    /// Tags that only media playlists have.
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

    /// Whether the variant's audio is in another playlist than its video.
    func hasSeparateAudio(_ variant: Variant) -> Bool {
        guard let group = variant.audioGroup else { return false }
        return audioGroups.contains(group) && !includedAudioGroups.contains(group)
    }
}

/// A variant of a stream.
struct Variant: Equatable, Sendable, CustomStringConvertible {
    var url: URL
    /// The maximum of bits per second.
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
        (height.map { "\($0)p " } ?? "") + "\(bandwidth / 1000)k"
    }
}

/// Parses a master playlist, line by line.
struct MasterPlaylistParser {
    private let base: URL
    private let limits: Playlist.Limits
    private var lines: PlaylistLines
    private var playlist = MasterPlaylist()
    /// The attributes of the variant whose address follows.
    private var attributes: AttributeList?
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
        guard parser.attributes == nil else { throw parser.lines.error(.variantIncomplete) }
        return parser.playlist
    }

    private init(lines: PlaylistLines, base: URL, limits: Playlist.Limits) {
        (self.lines, self.base, self.limits) = (lines, base, limits)
    }

    private mutating func takeTag(_ tag: String, _ value: Substring) throws(PlaylistError) {
        switch tag {
        case "EXT-X-STREAM-INF":
            guard attributes == nil else { throw lines.error(.variantIncomplete) }
            attributes = try list(value, of: tag)
        case "EXT-X-MEDIA": try takeRendition(try list(value, of: tag))
        case "EXT-X-DEFINE": throw lines.error(.unsupported(.variables))
        case _ where Playlist.mediaTags.contains(tag): throw lines.error(.mixedKinds(tag: tag))
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
            throw lines.error(.badValue(tag: "EXT-X-MEDIA"))
        }
        guard type == "AUDIO" else { return }
        playlist.audioGroups.insert(group)
        if attributes["URI"] == nil { playlist.includedAudioGroups.insert(group) }
    }

    private mutating func takeAddress(_ address: String) throws(PlaylistError) {
        guard let attributes else { throw lines.error(.variantIncomplete) }
        guard playlist.variants.count < limits.variants else {
            throw lines.error(.tooManyVariants(limit: limits.variants))
        }
        guard let variant = Variant(at: try resolve(address), attributes) else {
            throw lines.error(.badValue(tag: "EXT-X-STREAM-INF"))
        }
        playlist.variants.append(variant)
        self.attributes = nil
    }

    private func resolve(_ reference: String) throws(PlaylistError) -> URL {
        do throws(URLPolicyError) {
            return try URLPolicy.resolve(reference, at: base)
        } catch {
            throw lines.error(.addressRefused(error))
        }
    }

    private func list(_ value: Substring, of tag: String) throws(PlaylistError) -> AttributeList {
        guard let list = AttributeList(value) else { throw lines.error(.badValue(tag: tag)) }
        return list
    }
}

extension Variant {
    /// `nil` if an attribute has an invalid value, or `BANDWIDTH` is missing.
    fileprivate init?(at url: URL, _ attributes: AttributeList) {
        guard let bandwidth = attributes["BANDWIDTH"].flatMap({ decimal($0) }) else { return nil }
        self.init(url: url, bandwidth: bandwidth)
        if let text = attributes["RESOLUTION"] {
            let sides = text.split(separator: "x", omittingEmptySubsequences: false)
            guard sides.count == 2, decimal(sides[0]) != nil, let height = decimal(sides[1]) else {
                return nil
            }
            self.height = height
        }
        if let text = attributes["FRAME-RATE"] {
            guard let rate = Double(text), rate.isFinite, rate >= 0 else { return nil }
            frameRate = rate
        }
        let codecs = (attributes["CODECS"] ?? "").split(separator: ",")
        self.codecs = codecs.map { $0.filter { $0 != " " } }
        audioGroup = attributes["AUDIO"]
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
        let complete = variants.filter { !hasSeparateAudio($0) }
        let pictures = complete.filter { !$0.isAudioOnly }
        let candidates = pictures.isEmpty && !hasPictures ? complete : pictures
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
