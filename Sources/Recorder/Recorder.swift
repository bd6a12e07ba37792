import Catalogue
import Fetch
import Glibc
import HTTP
import Media
import Posix
import StreamVaultTelemetry
import WebSocket

/// The recorder: its start, its main loop, and the jobs beside the recordings.
///
/// Everything that can make a start fail does so before the first recording begins.
struct Recorder: ~Copyable {
    private let configuration: Configuration
    private let plan: ShutdownPlan
    private let context: RecordingContext
    private let registry: StreamRegistry
    private let broadcasting: RunningService
    private let twitch: TwitchService?
    private let watchdog: Watchdog
    private var housekeeping: Housekeeping
    private var twitchTasks: [BackgroundTask<SystemError>] = []
    /// Jobs that could not be started yet.
    private var missing: [Job] = []
    private let limiter = LogLimiter()
    /// The mark by which programs of an earlier run are found; `nil` if they cannot be identified.
    private let leftovers: String?
    private var loop: MainLoop

    init(
        _ configuration: Configuration,
        version: String,
        environment: [String: String],
        log: Log
    ) throws(StartError) {
        try Self.checkDirectory(configuration.recordingsDirectory)
        let wakeup = try StartError.wrapping("set up the main loop") {
            () throws(SystemError) in try Wakeup()
        }
        // From here on signals are caught: a signal during the start ends what has been started.
        let plan = ShutdownPlan(gracePeriod: configuration.gracePeriod)
        let watchdog = try StartError.wrapping("start the thread for signals") {
            () throws(SystemError) in
            try Watchdog(Watchdog.Timeouts(plan), environment: environment)
        }
        // The threads of the log inherit the watchdog's signal mask, like all threads from here on.
        log.startWriting()
        let server = try Self.listen(configuration)
        let publisher = try Self.publish(configuration, plan, version: version)
        do throws(StartError) {
            try self.init(
                configuration,
                plan,
                publisher,
                server,
                MainLoop(wakeup, watchdog),
                wakeup,
                watchdog,
                environment,
                log
            )
        } catch {
            // Without it, the run would count as a crash.
            publisher.finish(exitStatus: StartError.exitStatus)
            throw error
        }
    }

    /// The rest of the start, once the run is published.
    private init(
        _ configuration: Configuration,
        _ plan: ShutdownPlan,
        _ publisher: Publisher,
        _ server: consuming sending Server,
        _ loop: consuming MainLoop,
        _ wakeup: Wakeup,
        _ watchdog: Watchdog,
        _ environment: [String: String],
        _ log: Log
    ) throws(StartError) {
        let metrics = RecorderMetrics(publisher)
        publisher.onEvent { log.note($0, metrics) }
        let broadcaster = try Self.makeBroadcaster(publisher)
        let disk = DiskGuard(
            configuration.recordingsDirectory,
            recorder: configuration.recorderName,
            configuration.disk,
            metrics,
            log
        )
        // Before the catalogue is opened: on a full disk the reserve makes room for it.
        disk.check()
        let catalogue = try Self.openCatalogue(
            configuration.cataloguePath,
            metrics,
            log,
            wakeup,
            publisher,
            &loop
        )
        let journal = try StartError.wrapping("start the thread that writes the catalogue") {
            () throws(SystemError) in
            try CatalogueJournal(catalogue, log) { metrics.show($0) }
        }
        let status = RecorderStatus(name: configuration.recorderName)
        let context = RecordingContext(
            directory: configuration.recordingsDirectory,
            syncInterval: configuration.syncInterval,
            sourceTimeout: plan.budget(of: .recordings) * 0.75,
            addressExceptions: configuration.addressExceptions,
            segmentMemory: SegmentMemory(limit: configuration.segmentMemory) { bytes in
                metrics.segmentMemory.set(Double(bytes))
            },
            publisher: publisher,
            metrics: metrics,
            catalogue: catalogue,
            journal: journal,
            resumableRecordings: ResumableRecordings(within: configuration.resumeWindow),
            disk: disk,
            wantsRemux: configuration.remux != nil,
            log: log,
            wakeup: wakeup,
            status: status,
            broadcaster: broadcaster
        )
        let workers = configuration.streams.map { StreamRecorder($0, context) }
        let registry = StreamRegistry(status, workers: workers)
        let twitch = try TwitchService.load(configuration, registry, context, environment)
        let api = RecorderAPI(
            context: context,
            registry: registry,
            handshake: WebSocketHandshake(allowedOrigins: configuration.allowedOrigins),
            token: try Self.loadToken(configuration.bearerTokenFile, environment, log),
            wrongTokens: WrongTokens(log),
            twitch: twitch
        )
        let housekeeping = try StartError.wrapping("set up background tasks") {
            () throws(SystemError) in
            try Housekeeping(wakeup)
        }
        let addresses = server.addresses
        let apiServer = APIServer(server)
        let broadcasting = try StartError.wrapping("start the threads of the API") {
            () throws(SystemError) in
            try apiServer.start(api, log)
            let emergency = EmergencyStop(plan: plan, registry: registry, context: context)
            try watchdog.stopInPlace { emergency.run($0, while: $1) }
            return try broadcaster.start(wakeup, status)
        }
        (self.configuration, self.plan) = (configuration, plan)
        (self.context, self.registry) = (context, registry)
        (self.broadcasting, self.twitch) = (broadcasting, twitch)
        self.watchdog = watchdog
        leftovers = Leftovers.markChildren(
            of: configuration.recorderName,
            in: configuration.recordingsDirectory
        )
        self.housekeeping = housekeeping
        self.loop = loop
        logStart(addresses)
        watchdog.reportReady()
    }

    /// Records until a signal, or the end of a drain.
    ///
    /// - Returns: the exit status.
    consuming func run() throws(SystemError) -> CInt {
        var signal = try recoverEarlierRuns()
        if signal == nil { beginRecording() }
        var drainSignal: CInt = 0
        while true {
            if signal == SIGUSR1 {
                drainSignal = SIGUSR1
                registry.drain(context)
            }
            let isDrained = signal == nil && registry.isDrained
            if isDrained || signal.map({ $0 != SIGUSR1 }) ?? false {
                watchdog.limitShutdown()
                var shutdown = Shutdown(plan, registry, context, services(), loop)
                let status = try shutdown.run(signal: signal ?? drainSignal)
                watchdog.shutdownEnded()
                return status
            }
            if loop.takeReload() { reload() }
            if !registry.isStuck(at: .now()) { context.heartbeat() }
            context.metrics.count(dropped: context.log.takeDroppedLines())
            Orphans.reap()  // Children of streams' programs, if this is process 1.
            signal = try loop.wait(until: BootTime.now().advanced(by: .seconds(1)))
            startMissing()
        }
    }

    /// Opens the log file again after a SIGHUP, since it may have been renamed.
    private borrowing func reload() {
        context.log.reopen()
        context.log(.info, "Reload requested", ["signal": "\(SIGHUP)"])
    }

    private mutating func beginRecording() {
        context.disk.check()
        context.status.disk = context.disk.level
        missing += Job.allCases.filter { $0 != .recovery && isWanted($0) }
        startMissing()
        registry.open()
        if case .recording = context.status.state { context.publisher.enter(.recording) }
    }

    /// The services with a phase of the shutdown of their own.
    private borrowing func services() -> Shutdown.Services {
        Shutdown.Services(
            broadcaster: broadcasting,
            cleanup: housekeeping.service,
            eventSub: twitchTasks.isEmpty
                ? nil
                : twitch.map { twitch in
                    RunningService(tasks: twitchTasks) { _ in twitch.stop() }
                }
        )
    }

    /// Waits for the recovery, so that streams continue interrupted recordings; at most five seconds, since live media is lost meanwhile.
    ///
    /// - Returns: the signal that ended the wait, if there was one.
    private mutating func recoverEarlierRuns() throws(SystemError) -> CInt? {
        missing = [.recovery]
        startMissing()
        let deadline = BootTime.now().advanced(by: .seconds(5))
        while !housekeeping.isIdle {
            let now = BootTime.now()
            guard now < deadline else {
                context.log(.warn, "Recovery takes long, recording begins meanwhile")
                return nil
            }
            context.heartbeat()
            let next = min(deadline, now.advanced(by: .seconds(1)))
            if let signal = try loop.wait(until: next) { return signal }
        }
        return nil
    }

    private borrowing func logStart(_ addresses: [ListenAddress]) {
        let log = context.log
        log(
            .info,
            "Recorder started",
            [
                "recorder": context.status.name,
                "streams": "\(registry.workers.count)",
                "listen": addresses.map { "\($0)" }.joined(separator: ","),
                "grace_period": "\(configuration.gracePeriod.inSeconds)s",
            ]
        )
        if let shortage = plan.shortGraceWarning {
            log(.warn, "Grace period is short: less time to stop recordings", ["time": shortage])
        }
        let needed = Self.descriptors(forStreams: registry.workers.count)
        if SystemError.descriptorLimit < needed {
            log(
                .warn,
                "Few file descriptors: streams may have to wait for each other",
                [
                    "limit": "\(SystemError.descriptorLimit)", "needed": "\(needed)",
                    "remedy": "LimitNOFILE= or ulimit -n",
                ]
            )
        }
        if let trouble = context.publisher.warning {
            log(.warn, "Telemetry is impaired", ["trouble": trouble])
        }
    }
}

/// Jobs on threads of their own. One that cannot be started, for want of a thread or descriptor, is tried again each second.
extension Recorder {
    private enum Job: String, CaseIterable {
        case recovery, disk, retention, remux, eventSub, subscriptions
    }

    private borrowing func isWanted(_ job: Job) -> Bool {
        switch job {
        case .recovery, .disk: true
        case .retention: !configuration.retention.isEmpty
        case .remux: configuration.remux != nil
        case .eventSub, .subscriptions: twitch != nil
        }
    }

    private mutating func startMissing() {
        let jobs = missing
        missing = []
        for job in jobs {
            do throws(SystemError) {
                try start(job)
            } catch {
                missing.append(job)
                context.log(
                    .error,
                    "Task not started, to be tried again",
                    ["task": job.rawValue, "error": "\(error)"],
                    limitedBy: limiter,
                    condition: "\(job): \(error)"
                )
            }
        }
        registry.startMissing()
    }

    private mutating func start(_ job: Job) throws(SystemError) {
        switch job {
        case .recovery:
            let recovery = try Recovery(directory: context.directory)
            let earlier = EarlierRuns(context: context, recovery: recovery)
            let leftovers = leftovers
            let context = context
            try housekeeping.start("recovery") {
                if let leftovers { context.endLeftovers(of: leftovers) }
                earlier.recover(until: $0)
            }
        case .disk:
            let (context, registry) = (context, registry)
            try context.disk.start {
                context.status.disk = context.disk.level
                for worker in registry.workers { worker.checkPart() }
            }
        case .retention:
            let sweep = RetentionSweep(context: context, plan: configuration.retention)
            try housekeeping.start("retention") { sweep.run(until: $0) }
        case .remux:
            let deletesSource = configuration.remux?.deletesSource ?? false
            let remuxer = Remuxer(context: context, deletesSource: deletesSource)
            try housekeeping.start("remux") { remuxer.run(until: $0) }
        case .eventSub: try startTwitch("eventsub") { $0.applyNotifications() }
        case .subscriptions: try startTwitch("twitch") { $0.keepSubscriptions() }
        }
    }

    private mutating func startTwitch(
        _ name: String,
        _ work: @escaping @Sendable (TwitchService) -> Void
    ) throws(SystemError) {
        guard let twitch else { return }
        let task = try BackgroundTask(named: name, context.wakeup) { () throws(SystemError) in
            work(twitch)
        }
        twitchTasks.append(task)
    }
}

extension RecordingContext {
    /// Ends programs that the commands of an earlier run started and that a SIGKILL of the recorder left running.
    ///
    /// Before streams start, since these programs may hold the camera or the port that a command needs.
    fileprivate func endLeftovers(of owner: String) {
        let (found, remaining) = Leftovers.end(of: owner, within: .seconds(2))
        guard found > 0 else { return }
        metrics.leftoverPrograms.add(UInt64(found))
        log(
            remaining == 0 ? .warn : .error,
            "Programs of an earlier run ended",
            ["count": "\(found)", "still_running": "\(remaining)"]
        )
    }
}

extension Log {
    /// Logs that the telemetry segment was published again, or could not be.
    fileprivate func note(_ event: PublisherEvent, _ metrics: RecorderMetrics) {
        if case .published(let cause) = event.kind { metrics.telemetryRepublished[cause]?.add() }
        guard !event.isRepeated else { return }
        switch event.kind {
        case .published(let cause):
            self(.warn, "Telemetry published again", ["cause": cause.rawValue])
        case .unpublished(let error): self(.error, "Telemetry not published", ["error": error])
        }
    }
}

/// The steps of a start, each with errors of its own.
extension Recorder {
    /// Descriptors that recording needs, as measured: 37 for the recorder, 50 for clients and temporary files; for each stream 5
    /// for a command, or 5 to 8 for HLS.
    private static func descriptors(forStreams count: Int) -> Int { 90 + 10 * count }

    /// The interval of the main loop's heartbeats.
    static let heartbeatInterval = Duration.seconds(1)

    /// Opens the log; until `startWriting`, callers write its lines themselves.
    static func openLog(_ path: String?) throws(StartError) -> Log {
        try StartError.wrapping("log.file") { () throws(SystemError) in
            if let path { try Log(path: path) } else { Log() }
        }
    }

    /// Creates the directory if it is missing, and checks whether files may be created in it.
    ///
    /// It creates no file for this check: a killed start would leave it, and on a full disk there is no room for it.
    static func checkDirectory(_ path: String) throws(StartError) {
        try StartError.wrapping("recordings_dir") { () throws(SystemError) in
            try FileSystem.makeDirectory(path)
            guard try FileSystem.status(of: path).st_mode & S_IFMT == S_IFDIR else {
                throw SystemError(call: "open \(path)", code: ENOTDIR)
            }
            try FileSystem.checkWritable(path)
        }
    }

    private static func listen(_ configuration: Configuration) throws(StartError) -> Server {
        var addresses: [ListenAddress] = []
        for text in configuration.listenAddresses {
            do throws(ListenAddressError) {
                addresses.append(try ListenAddress(text))
            } catch {
                throw StartError(description: "web.listen-address: \(error)")
            }
        }
        var server = try StartError.wrapping("web.listen-address") {
            () throws(SystemError) in try Server(on: addresses, limits: APIServer.limits)
        }
        server.hosts = HostPolicy(
            allowed: configuration.allowedHosts,
            trustedOrigins: configuration.allowedOrigins
        )
        return server
    }

    private static func publish(
        _ configuration: Configuration,
        _ plan: ShutdownPlan,
        version: String
    ) throws(StartError) -> Publisher {
        var capacity = SegmentCapacity()
        capacity.recordings = max(16, configuration.streams.count * 2)
        do throws(PublisherError) {
            return try Publisher(
                directory: configuration.telemetryDirectory,
                name: configuration.recorderName,
                version: version,
                heartbeatInterval: heartbeatInterval,
                phases: plan.declared,
                capacity: capacity
            )
        } catch {
            throw StartError(description: "\(error)")
        }
    }

    /// Opens the catalogue; or one in memory if it cannot be opened, or a signal comes first.
    private static func openCatalogue(
        _ path: String,
        _ metrics: RecorderMetrics,
        _ log: Log,
        _ wakeup: Wakeup,
        _ publisher: Publisher,
        _ loop: inout MainLoop
    ) throws(StartError) -> Catalogue {
        let opening = try StartError.wrapping("start the thread for the catalogue \(path)") {
            () throws(SystemError) in
            let opening = try CatalogueOpening(path: path, wakeup) { metrics.count($0) }
            _ = try loop.wait {
                publisher.heartbeat()  // Checking a large catalogue takes long.
                return opening.result != nil
            }
            return opening
        }
        do throws(CatalogueError) {
            guard let opened = try opening.result?.get() else {
                log(
                    .warn,
                    "Signal received before the catalogue was open, continuing without it",
                    ["path": path]
                )
                return try Catalogue(path: Catalogue.inMemory)
            }
            metrics.show(opened.warning)
            switch opened.warning {
            case .withoutLog(let mode):
                let fields: KeyValuePairs = ["path": path, "journal_mode": mode]
                log(.warn, "Catalogue has no write-ahead log: is it on a network mount?", fields)
            case .replaced(let error, _), .unusable(let error):
                let reason = opened.warning.map { "\($0)" } ?? "\(error)"
                log(.error, "Catalogue not usable", ["path": path, "error": reason])
            case nil: break
            }
            return opened.catalogue
        } catch {
            throw StartError(description: "catalogue \(path): \(error)")
        }
    }

    static func makeBroadcaster(
        _ publisher: Publisher,
        _ settings: Broadcaster.Settings = Broadcaster.Settings()
    ) throws(StartError) -> Broadcaster {
        let clients = publisher.gauge(
            "streamvault_websocket_clients",
            "Clients of the WebSocket."
        )
        return try StartError.wrapping("set up the WebSocket") { () throws(SystemError) in
            try Broadcaster(settings, clientGauge: clients)
        }
    }

    static func loadToken(
        _ path: String?,
        _ environment: [String: String],
        _ log: Log
    ) throws(StartError) -> BearerToken? {
        let source = SecretSource(
            field: "web.bearer_token_file",
            path: path,
            variable: "STREAMVAULT_WEB_BEARER_TOKEN"
        )
        return try source.load(environment, log).flatMap { BearerToken($0.bytes) }
    }
}

/// Why a start failed, in one line.
struct StartError: Error, CustomStringConvertible {
    let description: String

    /// The exit status of a start that failed for another reason than the command line or the configuration.
    static let exitStatus: CInt = 1

    /// Adds to an error of `body` what was attempted, and a remedy where there is one.
    static func wrapping<T: ~Copyable>(
        _ what: String,
        _ body: () throws(SystemError) -> T
    ) throws(StartError) -> T {
        do throws(SystemError) {
            return try body()
        } catch {
            throw StartError(description: "\(what): \(error.withRemedy)")
        }
    }
}
