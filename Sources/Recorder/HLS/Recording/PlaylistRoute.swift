import FoundationEssentials

/// The way to a stream's media playlist: the address that is given, or the variant that the master playlist there names.
struct PlaylistRoute: Sendable {
    private let start: URL
    private let quality: Quality
    private var variant: Variant?
    private var isLost = false
    private var goneInARow = 0
    private var isChanged = false

    init(to start: URL, _ quality: Quality) {
        (self.start, self.quality) = (start, quality)
    }

    /// What to load next.
    var address: URL { isAtStart ? start : variant?.url ?? start }

    /// Whether the address is the configured one.
    var isAtStart: Bool { variant == nil || isLost }

    /// Takes a master playlist, and chooses.
    ///
    /// - Returns: the variant.
    mutating func take(_ master: MasterPlaylist) throws(PlaylistError) -> Variant {
        guard isAtStart else { throw PlaylistError(line: 0, reason: .masterInMaster) }
        let chosen = try master.variant(for: quality)
        isChanged = isChanged || variant.map { !$0.isAlike(chosen) } ?? false
        (variant, isLost) = (chosen, false)
        return chosen
    }

    /// Says that the media playlist was there.
    mutating func arrived() { goneInARow = 0 }

    /// Whether the next segment is encoded otherwise than those before; told once.
    mutating func takeChange() -> Bool {
        defer { isChanged = false }
        return isChanged
    }

    /// Goes back to the master playlist when the media playlist is forbidden, or gone for the second time in a row.
    ///
    /// Addresses in a master playlist often carry a token that expires, or name a server that is taken away.
    mutating func failed(with error: LoadError) {
        guard variant != nil, error.isOfAddress else { return }
        goneInARow = error.isGone ? goneInARow + 1 : 2
        if goneInARow >= 2 { (isLost, goneInARow) = (true, 0) }
    }
}
