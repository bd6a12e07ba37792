import CommandLine
import FoundationEssentials
import HTTP
import Posix

/// The command line and the environment; each setting but `configPath` overrides the one of the file.
struct Arguments: Equatable, Sendable {
    let configPath: String
    /// Whether to check the configuration and exit.
    var checksOnly = false
    var gracePeriod: Duration?
    /// Empty if none was given.
    var listenAddresses: [String] = []
    var bearerTokenFile: String?
    /// Empty if none was given.
    var allowedHosts: [String] = []
    var telemetryDirectory: String?
    var recorderName: String?
    var logFile: String?

    /// The requested action.
    enum Request: Equatable, Sendable {
        /// Print this text and exit with 0.
        case help(String)
        /// Print the version and exit with 0.
        case version
        case run(Arguments)
        /// Wait until another recorder is idle.
        case waitIdle(WaitIdle)
        /// Request the health of a server once.
        case healthcheck(Healthcheck)
    }

    /// Reads the arguments, without the program's name, and the `STREAMVAULT_…` variables.
    static func parse(
        _ arguments: [String],
        environment: [String: String]
    ) throws(CommandLineError) -> Request {
        if arguments.first == WaitIdleArguments.command {
            let rest = Array(arguments.dropFirst())
            return try WaitIdleArguments.parse(rest, environment: environment)
        }
        if arguments.first == HealthcheckArguments.command {
            let rest = Array(arguments.dropFirst())
            return try HealthcheckArguments.parse(rest, environment: environment)
        }
        return switch try table.parse(arguments, environment: environment) {
        case .help(let text): .help(text)
        case .version: .version
        case .run(let values): .run(Arguments(values))
        }
    }

    static let table = CommandLineTable(
        program: "streamvault-recorder",
        summary: """
            records live streams, and finalizes every recording when it is stopped.

            streamvault-recorder wait-idle URL waits until a recorder can be replaced, streamvault-recorder healthcheck URL
            requests the health of a server once; each has a --help of its own.
            """,
        flags: [
            CommandLineFlag(
                "config",
                .text("FILE"),
                help: "The configuration, a JSON5 file. A flag wins over its field.",
                isRequired: true
            ),
            CommandLineFlag(
                "check-config",
                .boolean,
                help: "Check the configuration, list every error, and exit."
            ),
            CommandLineFlag(
                "shutdown.grace-period",
                .duration(Configuration.gracePeriodBounds),
                help: "Time from SIGTERM to SIGKILL, as the orchestrator is configured.",
                defaultText: Configuration.defaultGracePeriod.text
            ),
            CommandLineFlag(
                "web.listen-address",
                .list("ADDRESS"),
                help:
                    "Where the HTTP API listens: :8000 or [::]:8000 (all IPv4 and IPv6 addresses),"
                    + " 127.0.0.1:8000, unix:/path.",
                defaultText: Configuration.defaultListenAddress
            ),
            CommandLineFlag(
                "web.bearer-token-file",
                .text("FILE"),
                help:
                    "File with the token that requests need to start, stop or drain. Without it, they are refused."
            ),
            CommandLineFlag(
                "web.allowed-host",
                .list("NAME"),
                help:
                    "A host name that browsers may use for the API, such as a reverse proxy's."
                    + " IP addresses, localhost and the machine's own name are always allowed."
            ),
            CommandLineFlag(
                "telemetry-dir",
                .text("DIRECTORY"),
                help: "Directory of the telemetry segment, shared with the exporter.",
                defaultText: Configuration.defaultTelemetryDirectory
            ),
            CommandLineFlag(
                "recorder.name",
                .text("NAME"),
                help:
                    "The recorder's name in the metrics: a to z, 0 to 9, inner dashes, at most 63.",
                defaultText: Configuration.defaultName
            ),
            CommandLineFlag(
                "log.file",
                .text("FILE"),
                help: "A file that receives the log besides standard output."
            ),
        ]
    )
}

extension Arguments {
    private init(_ values: CommandLineValues) {
        configPath = values.text("config") ?? ""  // Required: the table has refused its absence.
        checksOnly = values.isOn("check-config")
        gracePeriod = values.duration("shutdown.grace-period")
        listenAddresses = values.all("web.listen-address")
        bearerTokenFile = values.text("web.bearer-token-file")
        allowedHosts = values.all("web.allowed-host")
        telemetryDirectory = values.text("telemetry-dir")
        recorderName = values.text("recorder.name")
        logFile = values.text("log.file")
    }
}

/// The command line of `wait-idle URL`.
enum WaitIdleArguments {
    static let command = "wait-idle"
    private static let defaultTimeout = Duration.seconds(3600)
    private static let defaultInterval = Duration.seconds(5)

    static let table = CommandLineTable(
        program: "streamvault-recorder \(command)",
        summary: """
            waits until nothing is recorded, so that the recorder can be replaced.

            Exits with 0 when it is idle, 1 if it is still recording at the timeout, and 2 if it does not
            answer for 10 s.
            """,
        operands: "URL",
        flags: [
            CommandLineFlag(
                "timeout",
                .duration(.zero...(.seconds(7 * 86_400))),
                help: "How long to wait; 0s requests the state once.",
                defaultText: defaultTimeout.text
            ),
            CommandLineFlag(
                "interval",
                .duration(.milliseconds(100)...(.seconds(3600))),
                help: "Time between two requests.",
                defaultText: defaultInterval.text
            ),
        ]
    )

    /// Reads what follows `wait-idle`.
    static func parse(
        _ arguments: [String],
        environment: [String: String]
    ) throws(CommandLineError) -> Arguments.Request {
        switch try table.parse(arguments, environment: environment) {
        case .help(let text): .help(text)
        case .version: .version
        case .run(let values): .waitIdle(try read(values))
        }
    }

    private static func read(_ values: CommandLineValues) throws(CommandLineError) -> WaitIdle {
        guard values.operands.count == 1 else {
            throw CommandLineError("\(command): needs one URL, such as http://127.0.0.1:8000")
        }
        let text = values.operands[0]
        guard let url = URL(string: text, encodingInvalidCharacters: false),
            let scheme = url.scheme?.lowercased(), scheme == "http" || scheme == "https",
            let host = url.host(), !host.isEmpty
        else { throw CommandLineError("\(command): \"\(text)\" is not an http or https URL") }
        return WaitIdle(
            url: url,
            timeout: values.duration("timeout") ?? defaultTimeout,
            interval: values.duration("interval") ?? defaultInterval
        )
    }
}

/// The command line of `healthcheck URL`, the health check of the image.
enum HealthcheckArguments {
    static let command = "healthcheck"

    static let table = CommandLineTable(
        program: "streamvault-recorder \(command)",
        summary: """
            sends one request, and exits with 0 if the status of the answer is 200 to 399.

            URL is http://HOST[:PORT]/PATH, its host an IP address or localhost, or unix:/SOCKET:/PATH.
            """,
        operands: "URL",
        flags: [
            CommandLineFlag(
                "timeout",
                .duration(.milliseconds(1)...(.seconds(300))),
                help: "Limit for the complete check.",
                defaultText: Healthcheck.defaultTimeout.text
            )
        ]
    )

    /// Reads what follows `healthcheck`.
    static func parse(
        _ arguments: [String],
        environment: [String: String]
    ) throws(CommandLineError) -> Arguments.Request {
        switch try table.parse(arguments, environment: environment) {
        case .help(let text): return .help(text)
        case .version: return .version
        case .run(let values):
            guard values.operands.count == 1 else {
                throw CommandLineError(
                    "\(command): needs one URL, such as http://127.0.0.1:8000/health"
                )
            }
            let timeout = values.duration("timeout") ?? Healthcheck.defaultTimeout
            do throws(HealthcheckURLError) {
                let url = try HealthcheckURL(values.operands[0])
                return .healthcheck(Healthcheck(url, timeout: timeout, agent: userAgent))
            } catch {
                throw CommandLineError(error.description)
            }
        }
    }
}

/// The version of this program.
let recorderVersion = "0.1.0"

/// The `User-Agent` of this program's requests.
let userAgent = "streamvault-recorder/\(recorderVersion)"
