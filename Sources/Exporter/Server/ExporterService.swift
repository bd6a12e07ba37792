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
    private var textPage = MetricsPage(.text)
    private var openMetricsPage = MetricsPage(.openMetrics)
    private var own: OwnMetrics

    init(_ arguments: Arguments, version: String, _ log: Log) {
        (metricsPath, policy) = (arguments.metricsPath, arguments.policy)
        paths = [metricsPath, "/health", "/shutdowns", "/-/healthy", "/-/ready"]
        directory = RecorderDirectory(path: arguments.telemetryDirectory, log: log)
        own = OwnMetrics(version: version, handlers: paths)
    }

    mutating func respond(to request: Request) -> Response {
        let (handler, response) = answer(request, at: request.path)
        own.count(handler: handler, status: response.status)
        return response
    }

    /// The answer, and the handler as the metrics name it: a path that nobody serves is `other`.
    private mutating func answer(_ request: Request, at path: String) -> (String, Response) {
        guard paths.contains(path) else { return ("other", .notFound) }
        guard request.method == .get || request.method == .head else {
            return (path, .methodNotAllowed(allow: [.get, .head]))
        }
        switch path {
        case metricsPath:
            return (path, metrics(AcceptField(request.header("Accept") ?? "").format))
        case "/health": return (path, health())
        case "/shutdowns": return (path, shutdowns())
        default: return (path, .text(.ok, "ok"))
        }
    }

    private mutating func metrics(_ format: ExpositionFormat) -> Response {
        let recorders = look()
        let sources = recorders.map { MetricSource($0) } + [own.source(now: .now())]
        let body =
            switch format {
            case .text: textPage.render(sources)
            case .openMetrics: openMetricsPage.render(sources)
            }
        return Response(
            contentType: format.contentType,
            headers: [("Vary", "Accept")],
            body: body
        )
    }

    private mutating func health() -> Response {
        let report = HealthReport(look(), uptime: BootTime.now().since(startedAt), policy)
        return Response(
            Status(report.httpStatus),
            contentType: "application/health+json",
            body: report.json.bytes()
        )
    }

    /// How the last runs of each recorder ended, the latest last.
    private mutating func shutdowns() -> Response {
        let recorders = look().map { known in
            JSONText.object([
                ("recorder", .text(known.name)),
                ("shutdowns", .array(known.snapshot?.history.map(\.json) ?? [])),
            ])
        }
        let document = JSONText.object([("recorders", .array(recorders))])
        return Response(contentType: "application/json", body: document.bytes())
    }

    private mutating func look() -> [KnownRecorder] {
        let start = BootTime.now()
        let recorders = directory.look()
        let duration = BootTime.now().since(start).wholeNanoseconds
        own.note(readNanoseconds: duration, errors: directory.readErrors)
        return recorders
    }
}
