import HTTP
import Posix
import StreamVaultTelemetry

/// What the exporter answers.
struct ExporterService {
    private let metricsPath: String
    /// Each is a handler of its own in the metrics.
    private let paths: [String]
    private let policy: HealthPolicy
    private let startedAt = BootTime.now()
    private var directory: RecorderDirectory
    private var page = MetricsPage()
    private var own: OwnMetrics

    init(_ arguments: Arguments, version: String, _ log: Log) {
        (metricsPath, policy) = (arguments.metricsPath, arguments.policy)
        paths = [metricsPath, "/health", "/-/healthy", "/-/ready"]
        directory = RecorderDirectory(path: arguments.telemetryDirectory, log: log)
        own = OwnMetrics(version: version, handlers: paths)
    }

    mutating func respond(to request: Request) -> Response {
        let (handler, response) = answer(request.path, request.method)
        own.count(handler: handler, status: response.status)
        return response
    }

    /// The answer, and the handler as the metrics name it: a path that nobody serves is `other`.
    private mutating func answer(_ path: String, _ method: Method) -> (String, Response) {
        guard paths.contains(path) else { return ("other", .notFound) }
        guard method == .get || method == .head else {
            return (path, .methodNotAllowed(allow: [.get, .head]))
        }
        switch path {
        case metricsPath: return (path, metrics())
        case "/health": return (path, health())
        default: return (path, .text(.ok, "ok"))
        }
    }

    private mutating func metrics() -> Response {
        let recorders = look()
        let sources = recorders.map { MetricSource($0) } + [own.source(now: .now())]
        return Response(contentType: MetricsPage.contentType, body: page.render(sources))
    }

    private mutating func health() -> Response {
        let report = HealthReport(look(), uptime: BootTime.now().since(startedAt), policy)
        return Response(
            Status(report.httpStatus),
            contentType: "application/health+json",
            body: report.json.bytes()
        )
    }

    private mutating func look() -> [KnownRecorder] {
        let start = BootTime.now()
        let recorders = directory.look()
        let duration = BootTime.now().since(start).wholeNanoseconds
        own.note(readNanoseconds: duration, errors: directory.readErrors)
        return recorders
    }
}
