import Fetch
import FoundationEssentials
import Glibc
import HLS
import HTTP
import JSON
import Media
import Posix
import StreamVaultTelemetry
import Twitch

/// The recorder's configuration: every value checked, every default applied.
struct Configuration: Equatable, Sendable {
    var recorderName = defaultName
    var recordingsDirectory: String
    var telemetryDirectory = defaultTelemetryDirectory
    var cataloguePath: String
    /// From SIGTERM to the orchestrator's SIGKILL.
    var gracePeriod = defaultGracePeriod
    /// As written, such as `:8000`; never empty.
    var listenAddresses = [defaultListenAddress]
    /// File with the token for requests that change something; `nil` refuses all of them.
    var bearerTokenFile: String?
    /// Host names that browsers may use, besides local ones.
    var allowedHosts: [String] = []
    /// Origins whose pages may open a WebSocket, besides the recorder's own.
    var allowedOrigins: [String] = []
    /// Private addresses that playlists of a public origin may name.
    var addressExceptions = AddressExceptions()
    /// Whether programs of streams, and all that they start, are kept from gaining privileges.
    var noNewPrivileges = false
    var twitch: TwitchSettings?
    /// Bytes of HLS segments that all streams together may hold in memory.
    var segmentMemory = SegmentMemory.defaultLimit
    var logFile: String?
    /// The maximum media that a power failure may cost, as time.
    var syncInterval = defaultSyncInterval
    /// A recording that was interrupted is continued in its next part if its stream is back within this time.
    var resumeWindow = defaultResumeWindow
    var disk = DiskSettings()
    var retention = RetentionPlan()
    /// `nil` if recordings are not converted.
    var remux: RemuxSettings?
    /// May be empty: a recorder without streams still recovers files, and serves its API and telemetry.
    ///
    /// A template of a fleet that renders no stream for a host must not put that host into a crash loop.
    var streams: [StreamConfiguration] = []

    static let defaultName = "recorder"
    static let defaultTelemetryDirectory = "/run/streamvault"
    static let defaultGracePeriod = Duration.seconds(60)
    static let defaultListenAddress = ":8000"
    static let defaultSyncInterval = Duration.seconds(5)

    static let defaultResumeWindow = Duration.seconds(600)
    static let resumeWindowBounds = Duration.zero...Duration.seconds(86_400)
    static let splitBounds = Duration.seconds(10)...Duration.seconds(7 * 86_400)

    /// Below 3 s there is not enough time for every phase of the shutdown.
    static let gracePeriodBounds = Duration.seconds(3)...Duration.seconds(86_400)
    static let syncIntervalBounds = Duration.milliseconds(100)...Duration.seconds(60)
    static let maxStreams = 1000
    static let maxFileBytes = 1 << 20
}

extension Configuration {
    /// Reads and checks the file, and applies the settings of the command line.
    ///
    /// - Throws: all errors at once, one line each; of a file that is not JSON5 only the first.
    static func load(_ arguments: Arguments) throws(ConfigurationError) -> Configuration {
        let path = arguments.configPath
        return try check(try parse(try readFile(path), of: path), arguments: arguments)
    }

    /// Time for reading a file, since its path may name a pipe.
    static let readTimeout = Duration.seconds(5)

    private static func readFile(_ path: String) throws(ConfigurationError) -> [UInt8] {
        do throws(SystemError) {
            return try FileDescriptor.content(
                of: path,
                atMost: maxFileBytes,
                until: .now().advanced(by: readTimeout)
            )
        } catch {
            let problem =
                switch error.code {
                case EFBIG: "larger than \(maxFileBytes) bytes"
                case ETIMEDOUT: "not completely written within \(readTimeout.text)"
                default: "cannot be read: \(error.reason)"
                }
            throw ConfigurationError(lines: ["\(path): \(problem)"])
        }
    }

    private static func parse(
        _ bytes: [UInt8],
        of path: String
    ) throws(ConfigurationError) -> JSONValue {
        do throws(JSONError) {
            return try JSONReader.read(bytes, as: .json5)
        } catch {
            throw ConfigurationError(lines: ["\(path): \(error)"])
        }
    }

    /// Checks a parsed file.
    static func check(
        _ file: JSONValue,
        arguments: Arguments
    ) throws(ConfigurationError) -> Configuration {
        let problems = ConfigurationProblems()
        let configuration = ConfigurationFields(file, at: "", problems: problems).map {
            (fields: ConfigurationFields) in
            var fields = fields
            var configuration = Configuration(reading: &fields)
            fields.finish()
            configuration.override(with: arguments, problems: problems)
            return configuration
        }
        guard let configuration, problems.lines.isEmpty else {
            throw ConfigurationError(lines: problems.lines)
        }
        return configuration
    }

    private mutating func override(
        with arguments: Arguments,
        problems: ConfigurationProblems
    ) {
        recorderName = arguments.recorderName ?? recorderName
        if !ConfigurationRules.isName(recorderName) {
            let source = arguments.recorderName == nil ? "name" : "--recorder.name"
            problems.add(source, ConfigurationRules.nameRule)
        }
        telemetryDirectory = arguments.telemetryDirectory ?? telemetryDirectory
        gracePeriod = arguments.gracePeriod ?? gracePeriod
        if !arguments.listenAddresses.isEmpty { listenAddresses = arguments.listenAddresses }
        for text in listenAddresses {
            let isFlag = !arguments.listenAddresses.isEmpty
            do throws(ListenAddressError) {
                _ = try ListenAddress(text)
            } catch {
                problems.add(isFlag ? "--web.listen-address" : "web.listen_address", "\(error)")
            }
        }
        bearerTokenFile = arguments.bearerTokenFile ?? bearerTokenFile
        if !arguments.allowedHosts.isEmpty { allowedHosts = arguments.allowedHosts }
        let source = arguments.allowedHosts.isEmpty ? "web.allowed_hosts" : "--web.allowed-host"
        for host in allowedHosts where !HostPolicy.isName(host) {
            problems.add(source, HostPolicy.validationError(for: host))
        }
        logFile = arguments.logFile ?? logFile
    }
}

extension Configuration {
    private init(reading fields: inout ConfigurationFields) {
        let directory = fields.text("recordings_dir", isRequired: true) ?? ""
        recordingsDirectory = directory
        cataloguePath = fields.text("catalogue") ?? "\(directory)/catalogue.sqlite"
        recorderName = fields.text("name") ?? recorderName
        telemetryDirectory = fields.text("telemetry_dir") ?? telemetryDirectory
        syncInterval = fields.duration("sync_interval", in: Self.syncIntervalBounds) ?? syncInterval
        resumeWindow =
            fields.duration("resume_within", in: Self.resumeWindowBounds) ?? resumeWindow
        fields.object("shutdown") { shutdown in
            gracePeriod =
                shutdown.duration("grace_period", in: Self.gracePeriodBounds) ?? gracePeriod
        }
        fields.object("web") { web in
            listenAddresses = web.texts("listen_address") ?? listenAddresses
            bearerTokenFile = web.text("bearer_token_file")
            allowedHosts = web.texts("allowed_hosts") ?? allowedHosts
            allowedOrigins = web.origins("allowed_origins")
        }
        fields.object("network") { network in
            for text in network.texts("allow_private") ?? []
            where !addressExceptions.take(text) {
                network.report("allow_private", "\"\(text)\" \(AddressExceptions.rule)")
            }
        }
        fields.object("programs") { programs in
            noNewPrivileges = programs.boolean("no_new_privileges") ?? noNewPrivileges
        }
        fields.object("twitch") { twitch = TwitchSettings(reading: &$0) }
        fields.object("hls") { hls in
            segmentMemory = hls.segmentMemory("memory") ?? segmentMemory
        }
        fields.object("log") { log in logFile = log.text("file") }
        fields.object("disk") { disk = DiskSettings(reading: &$0) }
        fields.object("retention") { retention.overall = RetentionRules(reading: &$0) }
        fields.object("remux") { remux = RemuxSettings(reading: &$0) }
        let splitAfter = fields.duration("split_after", in: Self.splitBounds)
        streams = StreamConfiguration.readAll(from: &fields)
        for index in streams.indices where streams[index].canBeSplit {
            streams[index].splitAfter = streams[index].splitAfter ?? splitAfter
        }
        for stream in streams where !stream.retention.isEmpty {
            retention.byStream[stream.name] = stream.retention
        }
        checkBroadcasters(problems: fields.problems)
    }

    /// Without Twitch, a stream that Twitch switches would never be recorded.
    private func checkBroadcasters(problems: ConfigurationProblems) {
        guard twitch == nil, let stream = streams.first(where: { $0.broadcaster != nil }) else {
            return
        }
        problems.add("twitch", "is required for stream \"\(stream.name)\", which Twitch switches")
    }
}

extension TwitchSettings {
    init(reading fields: inout ConfigurationFields) {
        self.init()
        eventSubSecretFile = fields.text("eventsub_secret_file")
        let secret = fields.text("client_secret_file")
        let api = fields.url("api_url") ?? URL(string: Self.api)
        let auth = fields.url("auth_url") ?? URL(string: Self.auth)
        let names = ["client_id", "callback_url"]
        guard names.contains(where: { !fields.isMissing($0) }) || secret != nil else { return }
        let id = fields.text("client_id", isRequired: true)
        let callback = fields.url("callback_url", ["https"], isRequired: true)
        guard let id, let callback, let api, let auth else { return }
        application = Application(
            clientID: id,
            clientSecretFile: secret,
            callback: callback,
            api: api,
            auth: auth
        )
    }
}

extension DiskSettings {
    init(reading fields: inout ConfigurationFields) {
        warnBelow = fields.byteCount("warn_below")
        refuseBelow = fields.byteCount("refuse_below")
        reserve = fields.byteCount("reserve")
        if let warnBelow, let refuseBelow, warnBelow < refuseBelow {
            fields.report("warn_below", "must not be less than refuse_below")
        }
    }
}

extension RetentionRules {
    static let ageBounds = Duration.seconds(1)...Duration.seconds(87_600 * 3600)

    init(reading fields: inout ConfigurationFields) {
        maxAge = fields.duration("max_age", in: Self.ageBounds)
        maxCount = fields.count("max_count")
        maxBytes = fields.byteCount("max_size")
    }
}

/// How finished recordings are converted.
struct RemuxSettings: Equatable, Sendable {
    /// Whether a transport stream is deleted once its MP4 is complete.
    var deletesSource = false

    /// `to` must be `mp4`, the only container to convert to.
    init?(reading fields: inout ConfigurationFields) {
        deletesSource = fields.boolean("delete_source") ?? false
        guard let container = fields.text("to", isRequired: true) else { return nil }
        guard container == "mp4" else {
            fields.report("to", "must be \"mp4\"")
            return nil
        }
    }
}

/// The errors of a configuration, one line each.
struct ConfigurationError: Error, Equatable, CustomStringConvertible {
    let lines: [String]

    var description: String { lines.joined(separator: "\n") }
}

/// Rules that a flag and a field share.
enum ConfigurationRules {
    static let nameRule = "must be of a to z, 0 to 9 and inner dashes, at most 63"

    /// The rule of the telemetry, which holds for streams too: both names are used in file names.
    static func isName(_ text: String) -> Bool { RunIdentity.isName(text) }
}
