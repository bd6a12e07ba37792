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
    /// The metrics of the ingest socket, if there is one.
    var ingest: IngestMetrics?
    private(set) var visible = VisibleFamilies()
    private var hiddenWarnings = WarningInterval()
    private let log: Log
    private let routes: [Route]
    private(set) var directory: RecorderDirectory
    private var token: BearerTokenFile?
    private let wrongTokens: WrongTokens

    init(_ arguments: Arguments, version: String, _ log: Log) throws(StartError) {
        self.log = log
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
            do throws(BearerTokenError) {
                token = try BearerTokenFile(path: path, log: log)
            } catch {
                throw StartError(description: "web.bearer-token-file \(error)")
            }
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
        let recorders = directory.look(at: start)
        let duration = BootTime.now().since(start).wholeNanoseconds
        own.note(readNanoseconds: duration, errors: directory.readErrors)
        if visible.update(recorders) { own.note(hiddenFamilies: visible.hidden.count) }
        if !visible.hidden.isEmpty { warnOfHiddenFamilies(at: start) }
        leaving.noteLook(recorders.map { RecorderStage($0) }, at: start)
        return recorders
    }

    /// One line for each recorder, once, and then every ten minutes.
    private mutating func warnOfHiddenFamilies(at now: BootTime) {
        for recorder in Set(visible.hidden.map(\.recorder)).sorted()
        where hiddenWarnings.allows(recorder, at: now) {
            let hidden = visible.hidden.filter { $0.recorder == recorder }
            log(
                .warn,
                "Metrics not shown",
                [
                    "recorder": recorder, "count": "\(hidden.count)",
                    "names": hidden.prefix(8).map(\.name).joined(separator: ","),
                    "reason": hidden.first?.reason.rawValue ?? "",
                ]
            )
        }
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
