import Fetch

/// Why a text is not a playlist that can be recorded.
struct PlaylistError: Error, Equatable, CustomStringConvertible {
    /// Counted from 1; 0 where the whole text is meant.
    let line: Int
    let reason: Reason

    enum Reason: Equatable, Sendable {
        /// The first line is not `#EXTM3U`.
        case notAPlaylist
        case tooLarge(limit: Int)
        case tooManySegments(limit: Int)
        case tooManyVariants(limit: Int)
        /// A tag's value is not what its definition demands.
        case badValue(tag: String)
        /// A tag of the other kind of playlist: RFC 8216, section 4.1, has clients refuse both in one.
        case mixedKinds(tag: String)
        /// `EXT-X-TARGETDURATION` is required.
        case targetDurationMissing
        /// A segment without `EXTINF`.
        case durationMissing
        /// `EXT-X-STREAM-INF` without the address that must follow it, or the reverse.
        case variantIncomplete
        /// Neither the server was asked for part of a playlist, nor could part of one be recorded.
        case unaskedDelta
        case addressRefused(AddressError)
        /// A master playlist that offers nothing to choose from.
        case noVariants
        /// A master playlist, where another one has said that segments are.
        case masterInMaster
        /// Something of HLS that is known and cannot be recorded.
        case unsupported(UnsupportedFeature)
        /// The reading was broken off.
        case stopped
    }

    var description: String { line == 0 ? "\(text)" : "\(text) (line \(line))" }

    private var text: String {
        switch reason {
        case .notAPlaylist: "not an HLS playlist"
        case .tooLarge(let limit): "playlist larger than \(limit) bytes"
        case .tooManySegments(let limit): "playlist of more than \(limit) segments"
        case .tooManyVariants(let limit): "playlist of more than \(limit) variants"
        case .badValue(let tag): "invalid value of \(tag)"
        case .mixedKinds(let tag): "\(tag) does not belong into this kind of playlist"
        case .targetDurationMissing: "EXT-X-TARGETDURATION is missing"
        case .durationMissing: "segment without EXTINF"
        case .variantIncomplete: "EXT-X-STREAM-INF and an address must follow each other"
        case .unaskedDelta: "EXT-X-SKIP, which was not asked for"
        case .addressRefused(let error): error.description
        case .noVariants: "master playlist without variants"
        case .masterInMaster: "master playlist in place of a media playlist"
        case .stopped: "stopped"
        case .unsupported(let feature): "\(feature.rawValue) not supported"
        }
    }
}

/// What a playlist may ask for and this recorder does not do; the raw value is for people.
enum UnsupportedFeature: String, CaseIterable, Sendable {
    case encryption = "encryption other than AES-128 with a plain key (EXT-X-KEY) is"
    case separateAudio =
        "sound in a playlist of its own (EXT-X-MEDIA; a command source such as streamlink joins it) is"
    case iFramesOnly = "EXT-X-I-FRAMES-ONLY is"
    case variables = "EXT-X-DEFINE is"
}
