import Fetch
import FoundationEssentials
import Posix

/// What stands at the address of a stream: its segments, or a list of the forms in which it is to be had.
enum Playlist: Equatable, Sendable {
    case media(MediaPlaylist)
    case master(MasterPlaylist)

    /// What a playlist may hold.
    struct Limits: Equatable, Sendable {
        var bytes = 4 << 20
        var segments = 100_000
        /// Of a master playlist: variants, and renditions.
        var variants = 1000
    }

    /// Parses a playlist that was loaded from `base`, after all redirects; any bytes give one or a `PlaylistError`.
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

    /// Whether the first tag that only one kind has is a master playlist's (RFC 8216, section 4.3).
    private static func isMaster(_ lines: PlaylistLines) throws(PlaylistError) -> Bool {
        var lines = lines
        while let line = try lines.next() {
            guard case .tag(let tag, _) = line else { return false }
            if masterTags.contains(tag) { return true }
            if mediaTags.contains(tag) { return false }
        }
        return false
    }

    /// A playlist with one of these is none of segments.
    static let masterTags: Set = [
        "EXT-X-STREAM-INF", "EXT-X-MEDIA", "EXT-X-I-FRAME-STREAM-INF", "EXT-X-SESSION-DATA",
        "EXT-X-SESSION-KEY", "EXT-X-CONTENT-STEERING",
    ]

    /// A playlist with one of these is none of variants.
    static let mediaTags: Set = [
        "EXTINF", "EXT-X-TARGETDURATION", "EXT-X-MEDIA-SEQUENCE", "EXT-X-DISCONTINUITY-SEQUENCE",
        "EXT-X-BYTERANGE", "EXT-X-KEY", "EXT-X-MAP", "EXT-X-DISCONTINUITY", "EXT-X-ENDLIST",
        "EXT-X-PLAYLIST-TYPE", "EXT-X-I-FRAMES-ONLY", "EXT-X-PROGRAM-DATE-TIME", "EXT-X-GAP",
    ]
}

/// A master playlist (RFC 8216, section 4.3.4), as far as a choice needs it.
struct MasterPlaylist: Equatable, Sendable {
    /// As listed; of two that are alike the first is the author's choice.
    var variants: [Variant] = []
    /// Groups of sound that a variant's own segments hold, at least in one rendition.
    var includedAudioGroups: Set<String> = []
    /// All groups of sound.
    var audioGroups: Set<String> = []

    /// Whether the variant's sound is in another playlist than its picture.
    func hasSeparateAudio(_ variant: Variant) -> Bool {
        guard let group = variant.audioGroup else { return false }
        return audioGroups.contains(group) && !includedAudioGroups.contains(group)
    }
}

/// One form in which a stream is to be had.
struct Variant: Equatable, Sendable, CustomStringConvertible {
    var url: URL
    /// Bits per second, at the most.
    var bandwidth: Int
    /// Of the picture, in pixels.
    var height: Int?
    var frameRate: Double?
    var codecs: [String] = []
    var audioGroup: String?

    /// Whether its codecs are known, and none is one of pictures.
    var isAudioOnly: Bool {
        !codecs.isEmpty && height == nil
            && codecs.allSatisfy { codec in
                Self.audioCodecs.contains { codec == $0 || codec.hasPrefix($0 + ".") }
            }
    }

    private static let audioCodecs = [
        "mp4a", "ac-3", "ec-3", "ac-4", "opus", "flac", "fLaC", "alac",
    ]

    /// Whether the same encoding is meant, though perhaps by another address.
    func isAlike(_ other: Variant) -> Bool {
        bandwidth == other.bandwidth && height == other.height && frameRate == other.frameRate
            && codecs == other.codecs
    }

    /// Such as `720p 2500k`.
    var description: String {
        (height.map { "\($0)p " } ?? "") + "\(bandwidth / 1000)k"
    }
}

/// Reads a master playlist, line by line.
struct MasterPlaylistParser {
    private let base: URL
    private let limits: Playlist.Limits
    private var lines: PlaylistLines
    private var playlist = MasterPlaylist()
    /// Of the variant whose address follows.
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

    /// A rendition of sound without an address is in the segments of its variants (section 4.3.4.2.1).
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
    /// `nil` when an attribute that is there is not what its definition demands, or `BANDWIDTH` is missing.
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
    /// The tallest that is not taller; where all are, the least tall.
    case height(Int)
    /// The best of at most so many bits per second; where all have more, the one that has the least.
    case bandwidth(Int)

    /// Reads `best`, `worst`, `720p`, or a bandwidth such as `2500k` or `6M`.
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
    /// The variant to record: with picture before sound alone, and only with its sound in its own segments.
    ///
    /// - Throws: when there is none; a recording without its sound would be found out too late.
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

    // Both take the first of those that are alike: the others are there for when it fails.
    private var best: Variant? { self.max { $0.rank < $1.rank } }
    private var worst: Variant? { self.min { $0.rank < $1.rank } }
    private var leastTall: Variant? { filter { $0.height == compactMap(\.height).min() }.best }
    private var least: Int? { map(\.bandwidth).min() }
}

extension Variant {
    /// Height, frame rate and bandwidth, in this order; what a variant does not tell counts as nothing.
    fileprivate var rank: (Int, Double, Int) { (height ?? 0, frameRate ?? 0, bandwidth) }
}
