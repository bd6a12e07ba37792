import HTTP

extension ExporterService {
    /// All that is served; what is asked for most comes first.
    static func routes(metricsPath: String) -> [Route] {
        [
            Route(metricsPath, .tokenHolders) { $0.metrics($1) },
            Route("/health", .everyone) { service, _ in service.health() },
            Route("/-/healthy", .everyone) { _, _ in .text(.ok, "ok") },
            Route("/-/ready", .everyone) { _, _ in .text(.ok, "ok") },
            Route("/shutdowns", .tokenHolders) { service, _ in service.shutdowns() },
        ]
    }
}
