import Glibc
import HTTP
import Posix
import StreamVaultTelemetry

/// The recorder, put together: all that can fail at the start fails before the first recording begins.
struct Recorder: ~Copyable {
    private let configuration: Configuration
    private let plan: ShutdownPlan
    private let context: RecordingContext
    private let roster: Roster
    private let broadcaster: Broadcaster
    private let broadcasting: RunningService
    private let twitch: Twitch?
    private var loop: MainLoop

    init(
        _ configuration: Configuration,
        version: String,
        environment: [String: String]
    ) throws(StartError) {
        let log = try Self.openLog(configuration.logFile)
        try Self.checkDirectory(configuration.recordingsDirectory)
        let wakeup = try StartError.wrapping { () throws(SystemError) in try Wakeup() }
        // Signals are caught from here on: one that comes during the start ends what was started.
        let loop = try StartError.wrapping { () throws(SystemError) in try MainLoop(wakeup) }
        let server = try Self.listen(configuration.listenAddresses)
        let plan = ShutdownPlan(gracePeriod: configuration.gracePeriod)
        let publisher = try Self.publish(configuration, plan, version: version)
        let metrics = RecorderMetrics(publisher)
        let broadcaster = try Self.makeBroadcaster(publisher)
        let context = RecordingContext(
            directory: configuration.recordingsDirectory,
            syncInterval: configuration.syncInterval,
            sourcePatience: plan.budget(of: .recordings) * 0.75,
            publisher: publisher,
            metrics: metrics,
            catalogue: try Self.openCatalogue(configuration.cataloguePath, metrics),
            log: log,
            wakeup: wakeup,
            report: { broadcaster.send(.recording($0)) }
        )
        let roster = Roster(
            name: configuration.recorderName,
            workers: configuration.streams.map { StreamWorker($0, context) }
        )
        let twitch = try Twitch(configuration, roster, context, environment)
        let api = RecorderAPI(
            roster: roster,
            drain: Drain(roster: roster, context: context, broadcaster: broadcaster),
            broadcaster: broadcaster,
            handshake: WebSocketHandshake(allowedOrigins: configuration.allowedOrigins),
            token: try Self.loadToken(configuration.bearerTokenFile, environment),
            eventSub: twitch?.service,
            hasRoom: { true }
        )
        (self.configuration, self.plan) = (configuration, plan)
        (self.context, self.roster) = (context, roster)
        (self.broadcaster, self.twitch) = (broadcaster, twitch)
        broadcasting = broadcaster.start(wakeup) { roster.active }
        self.loop = loop
        logStart(server.addresses)
        APIServer(server).start(api, log)
    }

    /// Records until a signal ends it, or the drain that one began is over.
    ///
    /// - Returns: the exit status.
    consuming func run() throws(SystemError) -> CInt {
        recover()
        try DiskWatch.start(context.directory, context.metrics)
        try roster.open()
        if case .recording = roster.current { context.publisher.enter(.recording) }
        let services = startServices()
        var drainSignal: CInt = 0
        while true {
            if !roster.isStuck(at: .now()) { context.publisher.heartbeat() }
            Orphans.reap()  // Of the programs that streams start, when this is process 1.
            let next = BootTime.now().advanced(by: .seconds(1))
            let signal = try loop.wait(until: next)
            if signal == SIGUSR1 {
                drainSignal = SIGUSR1
                Drain(roster: roster, context: context, broadcaster: broadcaster).begin()
            }
            let isDrained = signal == nil && roster.isDrained
            guard isDrained || signal.map({ $0 != SIGUSR1 }) ?? false else { continue }
            var shutdown = Shutdown(plan, roster, context, services, loop)
            return try shutdown.run(signal: signal ?? drainSignal)
        }
    }

    /// Starts what needs streams that can be switched.
    private borrowing func startServices() -> Shutdown.Services {
        Shutdown.Services(
            broadcaster: broadcasting,
            eventSub: twitch?.start(context.wakeup),
            announce: { [broadcaster] phase, deadline in
                let secondsLeft = deadline.since(.now()).inSeconds
                broadcaster.send(.stopping(phase, secondsLeft: secondsLeft))
            }
        )
    }

    /// Takes up what earlier runs left, before anything is recorded.
    private borrowing func recover() {
        do {
            let recovery = Recovery(directory: context.directory) {
                [publisher = context.publisher] in
                publisher.heartbeat()
            }
            let files = try recovery.run()
            for file in files {
                if let label = file.label { context.metrics.recovered[label]?.add() }
                let fields: KeyValuePairs = [
                    "path": file.name.partPath, "outcome": "\(file.outcome)",
                ]
                context.log(.info, "Recording of an earlier run taken up", fields)
            }
            try context.catalogue.recoverUnfinished(files)
        } catch {
            context.log(.error, "Recovery failed", ["error": "\(error)"])
        }
    }

    private borrowing func logStart(_ addresses: [ListenAddress]) {
        let log = context.log
        log(
            .info,
            "Recorder started",
            [
                "recorder": roster.name,
                "streams": "\(roster.workers.count)",
                "listen": addresses.map { "\($0)" }.joined(separator: ","),
                "grace_period": "\(configuration.gracePeriod.inSeconds)s",
            ]
        )
        if let shortage = plan.shortage {
            log(.warn, "Grace period is short: less time to stop recordings", ["time": shortage])
        }
        if let trouble = context.publisher.trouble {
            log(.warn, "Telemetry is impaired", ["trouble": trouble])
        }
    }
}
