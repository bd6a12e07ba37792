import HTTP

extension ExporterService {
    /// All that is served, but for the metrics, whose path the operator chooses.
    static let fixedRoutes = [
        Route("/health", .everyone, failures: [.unavailable]) { service, _ in service.health() },
        Route("/livez/*", .everyone, failures: probeFailures) { $0.probe(.livez, $1) },
        Route("/readyz/*", .everyone, failures: probeFailures) { $0.probe(.readyz, $1) },
        Route("/startupz/*", .everyone, failures: probeFailures) { $0.probe(.startupz, $1) },
        Route("/-/healthy", .everyone) { _, _ in .text(.ok, "ok") },
        Route("/-/ready", .everyone) { _, _ in .text(.ok, "ok") },
        Route("/-/terminating", .everyone) { service, _ in service.terminating() },
        Route("/shutdowns", .tokenHolders) { service, _ in service.shutdowns() },
        Route("/", .tokenHolders) { $0.page($1) },
    ]

    private static let probeFailures = [Status.notFound, .unavailable]

    /// What is asked for most comes first.
    static func routes(metricsPath: TelemetryPath) -> [Route] {
        [Route(metricsPath.text, .tokenHolders) { $0.metrics($1) }] + fixedRoutes
    }
}
