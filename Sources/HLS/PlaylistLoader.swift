import Fetch
import FoundationEssentials
import Posix

/// The address of a stream's media playlist: the configured one, or that of a variant of the master playlist there.
struct PlaylistAddress: Sendable {
    private let start: URL
    private let quality: Quality
    private var variant: Variant?
    private var isLost = false
    private var goneInARow = 0
    private var isChanged = false

    init(_ start: URL, _ quality: Quality) {
        (self.start, self.quality) = (start, quality)
    }

    /// The address to load next.
    var url: URL { isAtStart ? start : variant?.url ?? start }

    /// Whether the address is the configured one.
    var isAtStart: Bool { variant == nil || isLost }

    /// Chooses a variant of a master playlist, whose address is loaded next.
    mutating func choose(from master: MasterPlaylist) throws(PlaylistError) -> Variant {
        guard isAtStart else { throw PlaylistError(line: 0, reason: .masterInMaster) }
        let chosen = try master.variant(for: quality)
        isChanged = isChanged || variant.map { !$0.isAlike(chosen) } ?? false
        (variant, isLost) = (chosen, false)
        return chosen
    }

    /// The media playlist was loaded.
    mutating func succeeded() { goneInARow = 0 }

    /// Whether the next segment has another encoding than those before; `true` only once.
    mutating func takeChange() -> Bool {
        defer { isChanged = false }
        return isChanged
    }

    /// Returns to the master playlist if the media playlist is forbidden, or gone for the second time in a row.
    ///
    /// Addresses in a master playlist often contain a token that expires, or name a server that is shut down.
    mutating func failed(with error: LoadError) {
        guard variant != nil, error.isOfAddress else { return }
        goneInARow = error.isGone ? goneInARow + 1 : 2
        if goneInARow >= 2 { (isLost, goneInARow) = (true, 0) }
    }
}

/// Why one load of a playlist failed.
enum LoadError: Error, Equatable, CustomStringConvertible {
    case fetch(FetchError)
    case playlist(PlaylistError)

    var kind: PlaylistFailure {
        switch self {
        case .playlist, .fetch(.tooLarge): .invalid
        case .fetch(.http), .fetch(.refusedRedirect): .http
        case .fetch(.network), .fetch(.timedOut), .fetch(.truncated), .fetch(.cancelled),
            .fetch(.refusedAddress), .fetch(.noRoom):
            .network
        }
    }

    var description: String {
        switch self {
        case .fetch(let error): error.description
        case .playlist(let error): error.description
        }
    }

    /// Whether another address may lead to the stream: this one is gone or forbidden.
    var isOfAddress: Bool { isGone || self == .fetch(.http(status: 403)) }

    var isGone: Bool {
        switch self {
        case .fetch(let error): error.isGone
        case .playlist: false
        }
    }

    /// Whether another load would fail in the same way.
    fileprivate var isFinal: Bool {
        switch self {
        case .playlist(let error):
            if case .unsupported = error.reason { true } else { false }
        case .fetch: false
        }
    }
}

/// Decides what follows a failed load of the playlist: another try, or the end.
struct ReloadPolicy: Sendable {
    struct Settings: Equatable, Sendable {
        /// Doubles with each attempt, up to `maxPause`.
        var firstPause = Duration.milliseconds(500)
        var maxPause = Duration.seconds(8)
        /// How long the first load may fail: an announced stream may not have started yet.
        var startTimeout = Duration.seconds(20)
        /// How long loads may fail later, before the recording fails.
        var timeout = Duration.seconds(60)
        /// So many responses of 404 or 410 in a row end a stream that was there.
        var maxGone = 3
    }

    enum Action: Equatable, Sendable {
        case retry(at: BootTime)
        /// The stream was there and is gone.
        case over
        case giveUp
    }

    private let settings: Settings
    private var hasLoaded = false
    private var failingSince: BootTime?
    private var goneInARow = 0
    private var pause: Duration

    init(_ settings: Settings = Settings()) {
        self.settings = settings
        pause = settings.firstPause
    }

    mutating func succeeded() {
        hasLoaded = true
        failingSince = nil
        goneInARow = 0
        pause = settings.firstPause
    }

    mutating func failed(with error: LoadError, at now: BootTime) -> Action {
        goneInARow = error.isGone ? goneInARow + 1 : 0
        let since = failingSince ?? now
        failingSince = since
        if error.isFinal { return .giveUp }
        if hasLoaded, goneInARow >= settings.maxGone { return .over }
        let timeout = hasLoaded ? settings.timeout : settings.startTimeout
        guard now.since(since) < timeout else { return .giveUp }
        defer { pause = min(pause * 2, settings.maxPause) }
        return .retry(at: now.advanced(by: pause))
    }
}
