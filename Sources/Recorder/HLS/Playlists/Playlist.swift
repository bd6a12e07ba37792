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
