import Fetch
import Posix

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

    /// Whether another address may lead to the stream: this one is gone, or no longer ours to ask.
    var isOfAddress: Bool { isGone || self == .fetch(.http(status: 403)) }

    var isGone: Bool {
        switch self {
        case .fetch(let error): error.isGone
        case .playlist: false
        }
    }

    /// Whether another load would say the same.
    fileprivate var isFinal: Bool {
        switch self {
        case .playlist(let error):
            if case .unsupported = error.reason { true } else { false }
        case .fetch: false
        }
    }
}

/// Decides what follows a failed load of the playlist: another try, or the end.
struct LoadFailures: Sendable {
    struct Settings: Equatable, Sendable {
        /// Doubles from try to try, up to the longest.
        var firstPause = Duration.milliseconds(500)
        var longestPause = Duration.seconds(8)
        /// How long the first load may fail; a stream that is announced may not be there yet.
        var patienceAtStart = Duration.seconds(20)
        /// How long loads may fail later, before the recording fails.
        var patience = Duration.seconds(60)
        /// So many answers of 404 or 410 in a row end a stream that was there.
        var goneIsOver = 3
    }

    enum Verdict: Equatable, Sendable {
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

    mutating func failed(with error: LoadError, at now: BootTime) -> Verdict {
        goneInARow = error.isGone ? goneInARow + 1 : 0
        let since = failingSince ?? now
        failingSince = since
        if error.isFinal { return .giveUp }
        if hasLoaded, goneInARow >= settings.goneIsOver { return .over }
        let patience = hasLoaded ? settings.patience : settings.patienceAtStart
        guard now.since(since) < patience else { return .giveUp }
        defer { pause = min(pause * 2, settings.longestPause) }
        return .retry(at: now.advanced(by: pause))
    }
}
