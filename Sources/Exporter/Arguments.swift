import CommandLine
import HTTP
import Posix

/// What the exporter's command line and environment say.
struct Arguments {
    var telemetryDirectory = "/run/streamvault"
    var listenAddresses = [ListenAddress.everywhere(port: 9847)]
    var metricsPath = TelemetryPath.standard
    var bearerTokenFile: String?
    /// Names that a browser may call the exporter by, besides local ones.
    var allowedHosts: [String] = []
    var showsCreated = false
    var policy = HealthPolicy()
    var linger = LingerPolicy()
    /// Where processes without the library publish; `nil` when they cannot.
    var ingestSocket: String?
    var resumeGrace = Duration.seconds(30)

    static let table = CommandLineTable(
        program: "streamvault-exporter",
        summary:
            "serves what recorders publish into telemetry segments to Prometheus and to probes.",
        operands: "[dump FILE | healthcheck URL]",
        flags: [
            CommandLineFlag(
                "telemetry-dir",
                .text("DIRECTORY"),
                help: "Where the recorders keep their telemetry segments; read only.",
                defaultText: "/run/streamvault"
            ),
            CommandLineFlag(
                "web.listen-address",
                .list("ADDRESS"),
                help:
                    "Where to listen: :9847 or [::]:9847 (all IPv4 and IPv6 addresses), 127.0.0.1:9847,"
                    + " unix:/path (for owner and group).",
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
                    "Holds the token that all requests but probes need; read again when it changes."
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
                    "How long /health and /livez are well without any recorder, from the exporter's start.",
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
                help: "How long healthcheck takes at most.",
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
                help: "What the orchestrator grants until SIGKILL, from /-/terminating or else from"
                    + " SIGTERM; a second before its end the exporter leaves in any case."
            ),
            CommandLineFlag(
                "ingest.socket",
                .text("PATH"),
                help:
                    "A local socket on which any process publishes lines of JSON, see docs/ingest.md."
                    + " The telemetry directory must be writable then."
            ),
            CommandLineFlag(
                "ingest.resume-grace",
                .duration(.zero...(.seconds(3600))),
                help:
                    "How long a process may take to come back to the socket of an exporter that was"
                    + " restarted, before it counts as dead.",
                defaultText: "30s"
            ),
        ]
    )

    init(_ values: CommandLineValues) throws(CommandLineError) {
        telemetryDirectory = values.text("telemetry-dir") ?? telemetryDirectory
        let addresses = try values.all("web.listen-address").map(Self.listenAddress)
        if !addresses.isEmpty { listenAddresses = addresses }
        if let path = values.text("web.telemetry-path") { metricsPath = try TelemetryPath(path) }
        bearerTokenFile = values.text("web.bearer-token-file")
        allowedHosts = values.all("web.allowed-host")
        if let host = allowedHosts.first(where: { !HostPolicy.isName($0) }) {
            throw CommandLineError("--web.allowed-host: \(HostPolicy.validationError(for: host))")
        }
        showsCreated = values.isOn("web.created-timestamps")
        policy.startupGrace = values.duration("health.startup-grace") ?? policy.startupGrace
        policy.failsPastDeadline = values.isOn("health.fail-past-deadline")
        linger.most = values.duration("linger.max")
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
