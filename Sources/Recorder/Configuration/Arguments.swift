import CommandLine
import HTTP
import Posix

/// What the command line and the environment say; each setting but `configPath` overrides the file's.
struct Arguments: Equatable, Sendable {
    let configPath: String
    /// Whether to check the configuration and leave.
    var checksOnly = false
    var gracePeriod: Duration?
    /// Empty when none was given.
    var listenAddresses: [String] = []
    var bearerTokenFile: String?
    /// Empty when none was given.
    var allowedHosts: [String] = []
    var telemetryDirectory: String?
    var recorderName: String?
    var logFile: String?

    /// What the command line asks for.
    enum Request: Equatable, Sendable {
        /// To print this text and leave with 0.
        case help(String)
        /// To print the version and leave with 0.
        case version
        case run(Arguments)
        /// To wait until another recorder is idle.
        case waitIdle(WaitIdle)
        /// To ask a server once whether it is well.
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
            records live streams, and ends every recording whole when it is stopped.

            streamvault-recorder wait-idle URL waits until a recorder can be replaced, streamvault-recorder healthcheck URL
            asks once whether a server is well; each has a --help of its own.
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
                help: "Check the configuration, name every mistake, and leave."
            ),
            CommandLineFlag(
                "shutdown.grace-period",
                .duration(Configuration.gracePeriodBounds),
                help: "Time from SIGTERM to SIGKILL, as the orchestrator grants it.",
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
                    "The token that requests have to show which start, stop or drain. Without it, they are refused."
            ),
            CommandLineFlag(
                "web.allowed-host",
                .list("NAME"),
                help:
                    "A host name by which browsers may reach the API, such as a reverse proxy's."
                    + " IP addresses, localhost and the machine's own name are always allowed."
            ),
            CommandLineFlag(
                "telemetry-dir",
                .text("DIRECTORY"),
                help: "Where the telemetry segment is kept, shared with the exporter.",
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
