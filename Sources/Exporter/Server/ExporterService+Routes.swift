import HTTP

extension ExporterService {
    /// All that is served, but for the metrics, whose path the operator chooses.
    static let fixedRoutes = [
        Route("/health", .everyone) { service, _ in service.health() },
        Route("/livez/*", .everyone) { $0.probe(.livez, $1) },
        Route("/readyz/*", .everyone) { $0.probe(.readyz, $1) },
        Route("/startupz/*", .everyone) { $0.probe(.startupz, $1) },
        Route("/-/healthy", .everyone) { _, _ in .text(.ok, "ok") },
        Route("/-/ready", .everyone) { _, _ in .text(.ok, "ok") },
        Route("/-/terminating", .everyone) { service, _ in service.terminating() },
        Route("/shutdowns", .tokenHolders) { service, _ in service.shutdowns() },
    ]

    /// What is asked for most comes first.
    static func routes(metricsPath: TelemetryPath) -> [Route] {
        [Route(metricsPath.text, .tokenHolders) { $0.metrics($1) }] + fixedRoutes
    }
}
