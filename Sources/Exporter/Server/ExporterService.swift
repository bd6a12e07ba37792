import HTTP
import Posix

/// What the exporter answers; see `routes` for all of it.
struct ExporterService {
    let policy: HealthPolicy
    let startedAt: BootTime
    let pageFacts: StatusPage.Facts
    /// What it awaits before it may leave.
    var leaving: Leaving
    var heads = ScrapeHeadReader()
    var textPage = MetricsPage(.prometheus)
    var openMetricsPage: MetricsPage
    var protobufPage = ProtobufPage()
    var own: OwnMetrics
    var ingest: IngestServer?
    private let routes: [Route]
    private(set) var directory: RecorderDirectory
    private var token: BearerTokenFile?
    private let wrongTokens: WrongTokens

    init(_ arguments: Arguments, version: String, _ log: Log) throws(StartError) {
        startedAt = .now()
        pageFacts = StatusPage.Facts(
            version: version,
            directory: arguments.telemetryDirectory,
            metricsPath: arguments.metricsPath.text,
            started: .now()
        )
        leaving = Leaving(arguments.linger, startedAt: startedAt)
        policy = arguments.policy
        openMetricsPage = MetricsPage(.openMetrics(created: arguments.showsCreated))
        routes = Self.routes(metricsPath: arguments.metricsPath)
        directory = RecorderDirectory(path: arguments.telemetryDirectory, log: log)
        wrongTokens = WrongTokens(log)
        if let path = arguments.bearerTokenFile {
            token = try BearerTokenFile(path: path, log: log)
        }
        let hasToken = token != nil
        own = OwnMetrics(
            version: version,
            statuses: routes.map { ($0.path, $0.statuses(hasToken: hasToken)) }
                + [("other", [.ok, .notFound])]
        )
    }

    mutating func respond(to request: Request) -> Response {
        let path = request.path
        guard let route = routes.first(where: { $0.serves(path) }) else {
            let isOfServer = path == "*"  // Only OPTIONS has such a target.
            return counted(
                isOfServer ? .allowing([.get, .head], for: .options) : .notFound,
                by: "other"
            )
        }
        if route.access == .tokenHolders, let refusal = token?.refusal(of: request) {
            if wrongTokens.note(request) { own.noteWrongToken() }
            return counted(refusal, by: route.path)
        }
        guard route.methods.contains(request.method) else {
            return counted(.allowing(route.methods, for: request.method), by: route.path)
        }
        return counted(route.answer(&self, request), by: route.path)
    }

    /// Reads every segment, and notes what that took.
    mutating func look() -> [KnownRecorder] {
        let start = BootTime.now()
        let recorders = directory.look()
        let duration = BootTime.now().since(start).wholeNanoseconds
        own.note(readNanoseconds: duration, errors: directory.readErrors)
        leaving.noteLook(recorders.map { RecorderStage($0) }, at: start)
        return recorders
    }

    /// Whether the exporter may leave: after a look, once it has been told to.
    mutating func decide(at now: BootTime) -> Leaving.Decision {
        if leaving.hasBegun { _ = look() }
        return leaving.decide(at: now)
    }

    private mutating func counted(_ response: Response, by handler: String) -> Response {
        own.count(handler: handler, status: response.status)
        return response
    }
}
