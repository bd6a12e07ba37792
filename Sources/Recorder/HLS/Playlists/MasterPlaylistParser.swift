import Fetch
import FoundationEssentials

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
        do throws(AddressError) {
            return try MediaAddress.resolve(reference, at: base)
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
