import Fetch
import FoundationEssentials
import Posix

/// The way to a stream's media playlist: the configured address, or the variant that the master playlist there names.
///
/// A variant whose playlist fails twice in a row is left for an equivalent one, or for the next lower one.
struct PlaylistAddress: Sendable {
    /// How long a lower variant is recorded before the preferred one is tried again.
    private static let returnPause = Duration.seconds(60)

    private let start: URL
    private let quality: Quality
    private var variant: Variant?
    /// The one that was loaded last.
    private var loaded: Variant?
    /// Those of the master playlist, for `EXT-X-DEFINE:IMPORT`.
    private(set) var variables = PlaylistVariables()
    private var isLost = false
    private var failuresInARow = 0
    /// Whether the master playlist has another variant of the same encoding.
    private var hasEquivalent = false
    /// The variants that were left.
    private var failed: Set<URL> = []
    /// When to read the master playlist again, since the variant is not the preferred one.
    private var returnTime: BootTime?
    private var isChanged = false

    init(_ start: URL, _ quality: Quality) {
        (self.start, self.quality) = (start, quality)
    }

    /// The address to load next.
    func url(at now: BootTime) -> URL { isAtStart(at: now) ? start : variant?.url ?? start }

    /// Whether the address is the configured one.
    func isAtStart(at now: BootTime) -> Bool {
        variant == nil || isLost || returnTime.map { $0 <= now } ?? false
    }

    /// Chooses a variant of a master playlist, whose address is loaded next.
    mutating func choose(from master: MasterPlaylist, at now: BootTime) throws(PlaylistError)
        -> Variant
    {
        guard isAtStart(at: now) else { throw PlaylistError(line: 0, reason: .masterInMaster) }
        if returnTime.map({ $0 <= now }) ?? false { failed = [] }
        let preferred = try master.variant(for: quality)
        var others = master
        others.variants.removeAll { failed.contains($0.url) }
        let chosen = (try? others.variant(for: quality)) ?? preferred
        if others.variants.isEmpty { failed = [] }
        hasEquivalent = others.variants.contains { $0.url != chosen.url && $0.isAlike(chosen) }
        let isPreferred = chosen.isAlike(preferred)
        returnTime = isPreferred ? nil : now.advanced(by: Self.returnPause)
        (variant, isLost, variables) = (chosen, false, master.variables)
        return chosen
    }

    /// The media playlist was loaded.
    mutating func succeeded() {
        failuresInARow = 0
        if let loaded, let variant, !loaded.isAlike(variant) { isChanged = true }
        loaded = variant
    }

    /// Whether the next segment is encoded otherwise than those before; reported once.
    mutating func takeChange() -> Bool {
        defer { isChanged = false }
        return isChanged
    }

    /// Goes back to the master playlist when the media playlist is forbidden, or has failed for the second time in a row.
    ///
    /// Addresses in a master playlist often contain a token that expires, or name a server that is shut down.
    mutating func failed(with error: LoadError) {
        guard let variant else { return }
        failuresInARow += hasEquivalent || error == .fetch(.timedOut) ? 2 : 1
        if failuresInARow >= 2 { failed.insert(variant.url) }
        isLost = isLost || failuresInARow >= 2 || (error.isOfAddress && !error.isGone)
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
    var isOfAddress: Bool {
        if case .fetch(let error) = self { error.isGone || error.status == 403 } else { false }
    }

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
        guard case .fetch(let error) = error else { return .retry(at: now.advanced(by: pause)) }
        return .retry(at: error.retryTime(after: pause, from: now))
    }
}
