import HTTP
import Posix

/// What the exporter answers; see `routes` for all of it.
struct ExporterService {
    let policy: HealthPolicy
    let startedAt = BootTime.now()
    var textPage = MetricsPage(.text)
    var openMetricsPage = MetricsPage(.openMetrics)
    var own: OwnMetrics
    private let routes: [Route]
    private var directory: RecorderDirectory

    init(_ arguments: Arguments, version: String, _ log: Log) {
        policy = arguments.policy
        routes = Self.routes(metricsPath: arguments.metricsPath)
        directory = RecorderDirectory(path: arguments.telemetryDirectory, log: log)
        own = OwnMetrics(version: version, handlers: routes.map(\.path))
    }

    mutating func respond(to request: Request) -> Response {
        let path = request.path
        guard let route = routes.first(where: { $0.path == path }) else {
            return counted(.notFound, by: "other")
        }
        guard route.methods.contains(request.method) else {
            return counted(.methodNotAllowed(allow: route.methods), by: route.path)
        }
        return counted(route.answer(&self, request), by: route.path)
    }

    /// Reads every segment, and notes what that took.
    mutating func look() -> [KnownRecorder] {
        let start = BootTime.now()
        let recorders = directory.look()
        let duration = BootTime.now().since(start).wholeNanoseconds
        own.note(readNanoseconds: duration, errors: directory.readErrors)
        return recorders
    }

    private mutating func counted(_ response: Response, by handler: String) -> Response {
        own.count(handler: handler, status: response.status)
        return response
    }
}
