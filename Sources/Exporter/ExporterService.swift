import Glibc
import HTTP
import Ingest
import JSON
import Posix
import StreamVaultTelemetry

/// The exporter's loop, and its answer to each request.
struct ExporterService: ~Copyable {
    /// For responses that are being sent when the exporter exits.
    private static let drainTime = Duration.milliseconds(500)

    private let log: Log
    private let policy: HealthPolicy
    private let startedAt: BootTime
    private let settings: StatusPage.Settings
    private let routes: [Route]
    private var token: BearerTokenFile?
    private let wrongTokens: WrongTokens
    private var directory: RecorderDirectory
    private var visible = VisibleFamilies()
    private var hiddenWarnings = WarningInterval()
    private var linger: LingerState
    private var metrics: ExporterMetrics
    private var scrapes = ScrapeRequestReader()
    private var textPage = TextPage(.prometheus)
    private var openMetricsPage: TextPage
    private var protobufPage = ProtobufPage()

    init(_ arguments: Arguments, version: String, _ log: Log) throws(StartError) {
        self.log = log
        startedAt = .now()
        settings = StatusPage.Settings(
            version: version,
            directory: arguments.telemetryDirectory,
            metricsPath: arguments.metricsPath.text,
            started: .now()
        )
        linger = LingerState(arguments.linger, startedAt: startedAt)
        policy = arguments.policy
        openMetricsPage = TextPage(.openMetrics(created: arguments.showsCreated))
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
        metrics = ExporterMetrics(
            version: version,
            statuses: routes.map { ($0.path, $0.statuses(hasToken: hasToken)) }
                + [("other", [.ok, .notFound])],
            hasIngest: arguments.ingestSocket != nil
        )
    }

    // MARK: - Loop

    /// Serves until the exporter may exit; without events and deadlines, it sleeps.
    mutating func run(
        _ server: inout Server,
        _ ingest: inout IngestServer?,
        _ signals: inout Signals
    ) throws(SystemError) {
        var loop = EventLoop()
        var nextDecision: BootTime?
        let signalDescriptor = signals.descriptor
        while true {
            loop.begin()
            loop.watch(signalDescriptor, for: .reading)
            let deadline = [nextDecision, signals.nextCheck].compactMap(\.self).min()
            try turn(&loop, until: deadline, &server, &ingest)
            if loop.isReady(0) || signals.nextCheck != nil {
                while let request = signals.nextRequest() { handle(request) }
            }
            let before = linger.waitingFor
            if linger.hasBegun { _ = readRecorders() }
            switch linger.decide(at: .now()) {
            case .stay(let until): nextDecision = until
            case .exit(let decision): return try exit(decision, &loop, &server, &ingest)
            }
            if linger.waitingFor != before { logWait(&server) }
        }
    }

    /// Waits for the descriptors in `loop` and those of both servers, and serves those that are ready.
    private mutating func turn(
        _ loop: inout EventLoop,
        until deadline: BootTime?,
        _ server: inout Server,
        _ ingest: inout IngestServer?
    ) throws(SystemError) {
        let serverDeadline = server.prepare(&loop)
        let ingestDeadline = ingest?.prepare(&loop) ?? nil
        if let blocked = log.blockedDescriptor { loop.watch(blocked, for: .writing) }
        let deadlines = [deadline, serverDeadline, ingestDeadline]
        _ = try loop.wait(until: deadlines.compactMap(\.self).min())

        try server.serve(loop) { respond(to: $0) }
        if log.blockedDescriptor != nil { log.resume() }
        ingest?.reserve(directory.namesInUse(at: .now()))
        try ingest?.serve(loop)

        metrics.update(server.counters)
        if let counters = ingest?.counters { metrics.update(counters) }
        metrics.count(droppedLogLines: log.takeDroppedLines().standardOutput)
        if let count = server.evictionsToReport() {
            log(.warn, "Connections closed to make room for others", ["count": "\(count)"])
        }
        for connection in server.removeClosed() { linger.noteEnd(of: connection, at: .now()) }
        for response in server.removeAcknowledged() {
            let scraper = linger.noteAcknowledged(ScrapeTag(rawValue: response.tag))
            guard let scraper, scraper.isRegular else { continue }
            log(.info, "Final state collected", ["by": "\(scraper.identity)"])
        }
    }

    private mutating func handle(_ request: Signals.Request) {
        switch request {
        case .stop(let signal):
            log(.info, "Stop requested", ["signal": "\(signal)"])
            // A terminal that closes sends its SIGHUP after a Ctrl-C: it must not end the wait.
            if signal == SIGHUP, linger.hasBegun { return }
            linger.noteSignal(at: .now())
        case .reload: log(.info, "Nothing to reload", ["signal": "\(SIGHUP)"])
        case .drain: break
        }
    }

    private func logWait(_ server: inout Server) {
        // A connection that stays open would look like a scraper that will return.
        server.closing = linger.waitingFor == .scrapers
        let (atMost, known, missing) = linger.wait(at: .now())
        let limit = "\(Int(atMost.inSeconds.rounded(.up)))s"
        switch linger.waitingFor {
        case .nothing: break
        case .recorders:
            let fields: KeyValuePairs = ["at_most": limit, "second_signal": "exits at once"]
            log(.info, "Waiting for the recorders to end", fields)
        case .scrapers:
            let fields: KeyValuePairs = [
                "at_most": limit, "scrapers": known == 0 ? "none seen yet" : "\(missing)",
                "second_signal": "exits at once",
            ]
            log(.info, "Waiting for the final state to be collected", fields)
        }
    }

    private mutating func exit(
        _ decision: ExitDecision,
        _ loop: inout EventLoop,
        _ server: inout Server,
        _ ingest: inout IngestServer?
    ) throws(SystemError) {
        server.closing = true
        let end = BootTime.now().advanced(by: Self.drainTime)
        while decision.waitsForResponses, server.busyConnections > 0, .now() < end {
            loop.begin()
            try turn(&loop, until: end, &server, &ingest)
        }
        for scraper in decision.missed {
            log(.warn, "Final state not collected", ["by": "\(scraper)"])
        }
        log(
            .info,
            "Exiting",
            [
                "reason": decision.reason.rawValue, "collected": "\(decision.collected.count)",
                "missed": "\(decision.missed.count)", "waited": decision.waited.text,
            ]
        )
    }

    // MARK: - Requests

    /// All routes except that of the metrics, whose path the operator chooses.
    private static let fixedRoutes = [
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

    /// All routes, the most frequent one first.
    static func routes(metricsPath: MetricsPath) -> [Route] {
        [Route(metricsPath.text, .tokenHolders) { $0.scrape($1) }] + fixedRoutes
    }

    /// The fixed route that answers a path, if there is one.
    static func fixedRoute(for path: String) -> String? {
        fixedRoutes.first { $0.matches(path) }?.path
    }

    mutating func respond(to request: Request) -> Response {
        let path = request.path
        guard let route = routes.first(where: { $0.matches(path) }) else {
            // Only OPTIONS can have the target *, which means the server.
            let response =
                path == "*" ? .allowing([.get, .head], for: .options) : Response.notFound
            return counted(response, by: "other")
        }
        if route.access == .tokenHolders, let refusal = token?.refusal(of: request) {
            if wrongTokens.note(request) { metrics.countWrongToken() }
            return counted(refusal, by: route.path)
        }
        guard route.methods.contains(request.method) else {
            return counted(.allowing(route.methods, for: request.method), by: route.path)
        }
        return counted(route.answer(&self, request), by: route.path)
    }

    private mutating func counted(_ response: Response, by handler: String) -> Response {
        metrics.count(handler: handler, status: response.status)
        return response
    }

    /// Reads all segments.
    private mutating func readRecorders() -> [KnownRecorder] {
        let start = BootTime.now()
        let recorders = directory.read(at: start)
        let duration = BootTime.now().since(start)
        metrics.update(readDuration: duration, errors: directory.readErrors)
        if directory.hasNewDeclarations {
            visible.decide(recorders)
            metrics.update(hiddenFamilies: visible.hidden.count)
        }
        if !visible.hidden.isEmpty { warnOfHiddenFamilies(at: start) }
        linger.update(recorders.map { ExitProgress($0) }, at: start)
        return recorders
    }

    /// Logs a line for each recorder, at once and then every ten minutes.
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

    private mutating func scrape(_ request: Request) -> Response {
        let scrape = scrapes.read(request)
        let recorders = readRecorders()
        let now = BootTime.now()
        var tag: ScrapeTag?
        if request.method == .get {
            tag = linger.noteScrape(by: scrape.identity, request.connection, at: now)
            metrics.update(
                scrapers: linger.scraperCount(at: now),
                isFinalScrapePending: linger.waitingFor == .scrapers
            )
        }
        let sources =
            [metrics.source(now: now)]
            + zip(recorders, visible.hiddenIndexes).map { MetricSource($0, hidden: $1) }
        let body =
            switch scrape.format {
            case .text: textPage.render(sources)
            case .openMetrics: openMetricsPage.render(sources)
            case .protobuf: protobufPage.render(sources)
            }
        var response = Response(
            contentType: scrape.format.contentType,
            headers: [("Vary", "Accept")],
            body: body
        )
        (response.tag, response.reportsEnd) = (tag?.rawValue, true)
        return response
    }

    private mutating func health() -> Response {
        let report = healthReport(of: readRecorders())
        return Response(
            Status(report.httpStatus),
            contentType: "application/health+json",
            body: JSONWriter.write(report.json, .line)
        )
    }

    /// The answer to a probe, or to one of its checks, such as `/livez/recorder/cam-1`.
    private mutating func probe(_ probe: Probe, _ request: Request) -> Response {
        let report = healthReport(of: readRecorders())
        let below = request.path.dropFirst(probe.path.count)
        guard !below.isEmpty else { return probe.response(to: request, report) }
        return probe.response(toCheck: String(below.dropFirst()), report)
    }

    private func healthReport(of recorders: [KnownRecorder]) -> HealthReport {
        HealthReport(
            recorders,
            directoryError: directory.listingError,
            hasSeenRecorder: directory.hasSeenRecorder,
            uptime: BootTime.now().since(startedAt),
            policy
        )
    }

    /// The preStop hook: the termination of the pod begins with it.
    private mutating func terminating() -> Response {
        linger.noteTermination(at: .now())
        return .text(.ok, "ok")
    }

    /// The ends of the last runs of each recorder, the latest last.
    private mutating func shutdowns() -> Response {
        let recorders = readRecorders().map { recorder -> JSONValue in
            [
                "recorder": .string(recorder.name),
                "shutdowns": .array(recorder.snapshot?.history.map(\.json) ?? []),
            ]
        }
        let document = JSONWriter.write(["recorders": .array(recorders)], .line)
        return Response(contentType: "application/json", body: document)
    }

    private mutating func page(_ request: Request) -> Response {
        let recorders = readRecorders()
        var notices: [String] = []
        switch linger.waitingFor {
        case .nothing: break
        case .recorders:
            notices.append(
                "This exporter is shutting down, and waits until its recorder has ended."
            )
        case .scrapers:
            notices.append(
                "This exporter is shutting down, and waits until the final state has been scraped."
            )
        }
        if directory.excess > 0 {
            let max = directory.bounds.recorders
            notices.append(
                "The directory has more telemetry segments than the \(max) that are read: at least"
                    + " \(directory.excess) others are not shown."
            )
        }
        return StatusPage(
            recorders: recorders,
            report: healthReport(of: recorders),
            settings: settings,
            hidden: visible.hidden,
            notices: notices
        ).response(isUpdate: request.query("update") != nil)
    }
}

/// A path, the clients that may use it, and the function that answers.
struct Route: Sendable {
    /// The clients that are answered if there is a bearer token.
    enum Access {
        /// All, because a kubelet's probes carry no token.
        case everyone
        case tokenHolders
    }

    fileprivate typealias Answer = @Sendable (inout ExporterService, Request) -> Response

    /// Also the name of the handler in the metrics.
    let path: String
    let access: Access
    fileprivate let methods = [Method.get, .head]
    /// The statuses of its responses, besides 200.
    private let failures: [Status]
    fileprivate let answer: Answer
    /// The path with a slash, if paths below it belong to the route.
    private let prefix: String?

    /// `path` ends in `/*` if paths below it belong to the route.
    fileprivate init(
        _ path: String,
        _ access: Access,
        failures: [Status] = [],
        _ answer: @escaping Answer
    ) {
        prefix = path.hasSuffix("/*") ? String(path.dropLast()) : nil
        self.path = prefix.map { String($0.dropLast()) } ?? path
        (self.access, self.failures, self.answer) = (access, failures, answer)
    }

    /// All statuses that a request can cause: each is counted from 0.
    func statuses(hasToken: Bool) -> [Status] {
        let refusals = hasToken && access == .tokenHolders ? [Status.unauthorized] : []
        return [.ok, .methodNotAllowed] + failures + refusals
    }

    func matches(_ path: String) -> Bool {
        path == self.path || prefix.map { path.hasPrefix($0) } ?? false
    }
}

/// Why a command cannot be executed, in one line.
struct StartError: Error, CustomStringConvertible {
    let description: String
}
