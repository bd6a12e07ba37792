import FoundationEssentials

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
