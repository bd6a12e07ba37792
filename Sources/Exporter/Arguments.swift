import CommandLine
import HTTP
import Posix

/// The settings of the exporter, from its command line and its environment.
struct Arguments {
    var telemetryDirectory = "/run/streamvault"
    var listenAddresses = [ListenAddress.anyAddress(port: 9847)]
    var metricsPath = MetricsPath.standard
    var bearerTokenFile: String?
    /// Host names by which browsers may address the exporter, besides local ones.
    var allowedHosts: [String] = []
    var showsCreated = false
    var policy = HealthPolicy()
    var linger = LingerPolicy()
    /// The ingest socket, if there is one.
    var ingestSocket: String?
    var resumeGrace = Duration.seconds(30)

    static let table = CommandLineTable(
        program: "streamvault-exporter",
        summary:
            "serves the telemetry segments of recorders to Prometheus and to health probes.",
        operands: "[dump FILE | healthcheck URL]",
        flags: [
            CommandLineFlag(
                "telemetry-dir",
                .text("DIRECTORY"),
                help: "The directory of the telemetry segments; only read.",
                defaultText: "/run/streamvault"
            ),
            CommandLineFlag(
                "web.listen-address",
                .list("ADDRESS"),
                help:
                    "The address to listen on: :9847 or [::]:9847 (all IPv4 and IPv6 addresses),"
                    + " 127.0.0.1:9847, unix:/path (for owner and group).",
                defaultText: ":9847"
            ),
            CommandLineFlag(
                "web.telemetry-path",
                .text("PATH"),
                help: "The path of the metrics.",
                defaultText: "/metrics"
            ),
            CommandLineFlag(
                "web.bearer-token-file",
                .text("FILE"),
                help:
                    "A file with the token that all requests except probes need; read again when it changes."
            ),
            CommandLineFlag(
                "web.allowed-host",
                .list("NAME"),
                help:
                    "A host name by which browsers may reach the exporter, such as a reverse proxy's."
                    + " IP addresses, localhost and the machine's own name are always allowed."
            ),
            CommandLineFlag(
                "web.created-timestamps",
                .boolean,
                help: "Add a _created sample to each counter and histogram of OpenMetrics."
            ),
            CommandLineFlag(
                "health.startup-grace",
                .duration(.zero...(.seconds(86_400))),
                help:
                    "How long /health and /livez pass without any recorder, from the exporter's start.",
                defaultText: "60s"
            ),
            CommandLineFlag(
                "health.fail-past-deadline",
                .boolean,
                help: "Fail /health and /livez when a shutdown is past its deadline."
            ),
            CommandLineFlag(
                "timeout",
                .duration(.milliseconds(1)...(.seconds(300))),
                help: "The maximum duration of healthcheck.",
                defaultText: "3s"
            ),
            CommandLineFlag(
                "linger.max",
                .duration(.zero...(.seconds(86_400))),
                help:
                    "How long to stay after SIGTERM until the final state of a recorder that has"
                    + " ended is scraped; 0s exits at once.",
                defaultText: "two scrape intervals and 5s"
            ),
            CommandLineFlag(
                "termination-grace-period",
                .duration(.seconds(1)...(.seconds(86_400))),
                help:
                    "The orchestrator's time until SIGKILL, from /-/terminating or else from SIGTERM;"
                    + " the exporter exits a second before its end in any case."
            ),
            CommandLineFlag(
                "ingest.socket",
                .text("PATH"),
                help:
                    "A Unix socket on which any process publishes lines of JSON, see docs/ingest.md."
                    + " The telemetry directory must be writable then."
            ),
            CommandLineFlag(
                "ingest.resume-grace",
                .duration(.zero...(.seconds(3600))),
                help:
                    "How long a process may take to reconnect to the socket after a restart of the"
                    + " exporter, before it counts as dead.",
                defaultText: "30s"
            ),
        ]
    )

    init(_ values: CommandLineValues) throws(CommandLineError) {
        telemetryDirectory = values.text("telemetry-dir") ?? telemetryDirectory
        let addresses = try values.all("web.listen-address").map(Self.listenAddress)
        if !addresses.isEmpty { listenAddresses = addresses }
        if let path = values.text("web.telemetry-path") { metricsPath = try MetricsPath(path) }
        bearerTokenFile = values.text("web.bearer-token-file")
        allowedHosts = values.all("web.allowed-host")
        if let host = allowedHosts.first(where: { !HostPolicy.isName($0) }) {
            throw CommandLineError("--web.allowed-host: \(HostPolicy.validationError(for: host))")
        }
        showsCreated = values.isOn("web.created-timestamps")
        policy.startupGrace = values.duration("health.startup-grace") ?? policy.startupGrace
        policy.failsPastDeadline = values.isOn("health.fail-past-deadline")
        linger.max = values.duration("linger.max")
        linger.gracePeriod = values.duration("termination-grace-period")
        ingestSocket = try values.text("ingest.socket").map(Self.socketPath)
        resumeGrace = values.duration("ingest.resume-grace") ?? resumeGrace
    }

    private static func socketPath(_ path: String) throws(CommandLineError) -> String {
        do throws(ListenAddressError) {
            _ = try ListenAddress("unix:\(path)")
            return path
        } catch {
            throw CommandLineError("--ingest.socket: \(error)")
        }
    }

    private static func listenAddress(_ text: String) throws(CommandLineError) -> ListenAddress {
        do throws(ListenAddressError) {
            return try ListenAddress(text)
        } catch {
            throw CommandLineError("--web.listen-address: \(error)")
        }
    }
}

/// The path of the metrics: one that all clients send unchanged.
struct MetricsPath {
    let text: String

    static let standard = MetricsPath(unchecked: "/metrics")

    /// - Throws: also for the path of another route.
    init(_ text: String) throws(CommandLineError) {
        if let error = Self.validationError(for: text) {
            throw CommandLineError("--web.telemetry-path: \(text.debugDescription) \(error)")
        }
        self.init(unchecked: text)
    }

    private init(unchecked text: String) {
        self.text = text
    }

    private static func validationError(for text: String) -> String? {
        guard text.hasPrefix("/") else { return "does not begin with /" }
        let segments = text.split(separator: "/", omittingEmptySubsequences: false).dropFirst()
        guard text.utf8.allSatisfy(isAllowed) else {
            return "may only contain letters, digits, / and -._~: no query, no escapes"
        }
        guard text == "/" || !segments.contains(""), !segments.contains("."),
            !segments.contains("..")
        else { return "has an empty segment, or one of dots, which clients change" }
        guard text.utf8.count <= 1024 else { return "is longer than 1024 characters" }
        return ExporterService.fixedRoute(for: text).map { "is used by \($0)" }
    }

    /// The unreserved characters of RFC 3986 §2.3, and the slash.
    private static func isAllowed(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: "/-._~".utf8.contains(byte)
        }
    }
}
