import Fetch

/// Which variant of a master playlist to record.
enum Quality: Equatable, Sendable {
    case best
    case worst
    /// The tallest that is not taller; where all are, the least tall.
    case height(Int)
    /// The best of at most so many bits per second; where all have more, the one that has the least.
    case bandwidth(Int)

    /// Reads `best`, `worst`, `720p`, or a bandwidth such as `2500k` or `6M`.
    init?(text: String) {
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
