import Foundation

/// A media playlist (RFC 8216, section 4), as far as a recorder needs it.
struct MediaPlaylist: Equatable, Sendable {
    /// The most that a segment lasts, and the measure of how often to reload.
    var targetDuration = Duration.zero
    /// Number of the first segment.
    var mediaSequence: UInt64 = 0
    var discontinuitySequence: UInt64 = 0
    /// Whether `EXT-X-ENDLIST` says that nothing will be added.
    var hasEnded = false
    var segments: [MediaSegment] = []
}

/// A segment that a playlist names.
struct MediaSegment: Equatable, Sendable {
    /// `EXT-X-MEDIA-SEQUENCE` plus the place in the playlist.
    var sequence: UInt64 = 0
    /// Absolute, `http` or `https`.
    var url: URL
    var duration: Duration
    var title: String = ""
    /// Whether `EXT-X-DISCONTINUITY` comes before it: other encoding, or other time stamps.
    var isDiscontinuous = false
    /// Whether `EXT-X-GAP` says that its media does not exist.
    var isGap = false
    /// `EXT-X-PROGRAM-DATE-TIME`, as written.
    var programDateTime: String?
}

/// Why a text is not a media playlist that can be recorded.
struct PlaylistError: Error, Equatable, CustomStringConvertible {
    /// Counted from 1; 0 where the whole text is meant.
    let line: Int
    let reason: Reason

    enum Reason: Equatable, Sendable {
        /// The first line is not `#EXTM3U`.
        case notAPlaylist
        case tooLarge(limit: Int)
        case tooManySegments(limit: Int)
        /// A tag's value is not what its definition demands.
        case badValue(tag: String)
        /// `EXT-X-TARGETDURATION` is required.
        case targetDurationMissing
        /// A segment without `EXTINF`.
        case durationMissing
        case addressRefused(AddressError)
        /// Something of HLS that is known and cannot be recorded.
        case unsupported(UnsupportedFeature)
    }

    var description: String { line == 0 ? "\(text)" : "\(text) (line \(line))" }

    private var text: String {
        switch reason {
        case .notAPlaylist: "not an HLS playlist"
        case .tooLarge(let limit): "playlist larger than \(limit) bytes"
        case .tooManySegments(let limit): "playlist of more than \(limit) segments"
        case .badValue(let tag): "invalid value of \(tag)"
        case .targetDurationMissing: "EXT-X-TARGETDURATION is missing"
        case .durationMissing: "segment without EXTINF"
        case .addressRefused(let error): error.description
        case .unsupported(let feature): "\(feature.rawValue) not supported"
        }
    }
}

/// What a playlist may ask for and this recorder cannot do; the raw value is for people.
enum UnsupportedFeature: String, CaseIterable, Sendable {
    case masterPlaylist = "master playlists are"
    case initializationSection = "EXT-X-MAP (fragmented MP4) is"
    case byteRange = "EXT-X-BYTERANGE is"
    case encryption = "encryption (EXT-X-KEY) is"
    case iFramesOnly = "EXT-X-I-FRAMES-ONLY is"
    case deltaUpdate = "EXT-X-SKIP is"
    case variables = "EXT-X-DEFINE is"
}
