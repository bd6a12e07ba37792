import Fetch
import FoundationEssentials
import HLS
import Media
import Posix
import StreamVaultTelemetry

/// What the recorder is to do: every value checked, every default applied.
struct Configuration: Equatable, Sendable {
    var recorderName = defaultName
    var recordingsDirectory: String
    var telemetryDirectory = defaultTelemetryDirectory
    var cataloguePath: String
    /// From SIGTERM to the orchestrator's SIGKILL.
    var gracePeriod = defaultGracePeriod
    /// As written, such as `:8000`; never empty.
    var listenAddresses = [defaultListenAddress]
    /// Of the token that a request has to show which changes something; `nil` refuses them all.
    var bearerTokenFile: String?
    /// Names that a browser may call the recorder by, besides local ones.
    var allowedHosts: [String] = []
    /// Whose pages may open a WebSocket, besides those of the recorder's own address.
    var allowedOrigins: [String] = []
    /// Private addresses that playlists of a public origin may name.
    var addressExceptions = AddressExceptions()
    /// Whether programs that are started, and all that they start, can gain no privileges.
    var noNewPrivileges = false
    var twitch: TwitchConfiguration?
    /// Bytes that all streams together may hold of HLS segments.
    var segmentMemory = SegmentMemory.defaultLimit
    var logFile: String?
    /// The most media that a power cut may cost, as time.
    var syncInterval = defaultSyncInterval
    /// A recording that was cut short goes on as its next part when its stream is back within this time.
    var resumeWindow = defaultResumeWindow
    var disk = DiskSettings()
    var retention = RetentionPlan()
    /// `nil` when recordings stay as they were recorded.
    var remux: RemuxSettings?
    /// May be empty: a recorder without streams still recovers, serves and reports.
    ///
    /// A fleet's template that renders no stream for one host must not put that host into a crash loop.
    var streams: [StreamConfiguration] = []

    static let defaultName = "recorder"
    static let defaultTelemetryDirectory = "/run/streamvault"
    static let defaultGracePeriod = Duration.seconds(60)
    static let defaultListenAddress = ":8000"
    static let defaultSyncInterval = Duration.seconds(5)

    static let defaultResumeWindow = Duration.seconds(600)
    static let resumeWindowBounds = Duration.zero...Duration.seconds(86_400)
    static let splitBounds = Duration.seconds(10)...Duration.seconds(7 * 86_400)

    /// Below 3 s the phases of the shutdown cannot each have a slice.
    static let gracePeriodBounds = Duration.seconds(3)...Duration.seconds(86_400)
    static let syncIntervalBounds = Duration.milliseconds(100)...Duration.seconds(60)
    static let mostStreams = 1000
    static let mostFileBytes = 1 << 20
}

/// A stream that can be recorded.
struct StreamConfiguration: Equatable, Sendable {
    /// The name in metrics, file names and the API; unique.
    let name: String
    /// The name for people.
    let title: String?
    let source: Source
    var record = RecordPolicy.always
    /// Whose broadcasts switch the stream.
    var broadcaster: TwitchBroadcaster?

    /// When a stream is recorded.
    enum RecordPolicy: String, Sendable {
        /// From the start of the recorder on.
        case always
        /// Between a start and a stop, by the API or by Twitch.
        case onDemand = "on_demand"
    }
    var retention = RetentionRules()
    /// How long a recording lasts before the next one follows on it; `nil` for ever.
    var splitAfter: Duration?

    enum Source: Equatable, Sendable {
        /// An http or https URL of a playlist, and what to take of it.
        case hls(url: URL, quality: Quality = .best, from: StartPoint = .start)
        /// A program, found by `PATH` or a path, and its arguments.
        case command(argv: [String], container: MediaContainer)
    }
}

/// A configuration that cannot be used: one line for each mistake.
struct ConfigurationError: Error, Equatable, CustomStringConvertible {
    let lines: [String]

    var description: String { lines.joined(separator: "\n") }
}

/// Rules that a flag and a field share.
enum ConfigurationRules {
    static let nameRule = "must be of a to z, 0 to 9 and inner dashes, at most 63"

    /// The telemetry's rule, for streams too: both name files.
    static func isName(_ text: String) -> Bool { Identity.isName(text) }
}
