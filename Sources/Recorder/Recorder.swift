import Fetch
import Glibc
import HTTP
import Media
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
    private let watchdog: Watchdog
    private var housekeeping: Housekeeping
    private var twitchTasks: [BackgroundTask<SystemError>] = []
    /// Work that could not be started yet.
    private var missing: [Job] = []
    private let limiter = LogLimiter()
    /// By which what an earlier run started is found; `nil` when that cannot be told.
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
        // Signals are caught from here on: one that comes during the start ends what was started.
        let plan = ShutdownPlan(gracePeriod: configuration.gracePeriod)
        let watchdog = try StartError.wrapping("start the thread for signals") {
            () throws(SystemError) in
            try Watchdog(Watchdog.Timeouts(plan), environment: environment)
        }
        // Its threads leave the signals to the watchdog, as all do from here on.
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
            publisher.goodbye(exitStatus: Main.failedStartStatus)  // Or it would count as a crash.
            throw error
        }
    }

    /// What follows once the run is published.
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
        // Before the catalogue: on a full disk the reserve makes room for it.
        disk.look()
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
            continuations: Continuations(within: configuration.resumeWindow),
            disk: disk,
            wantsRemux: configuration.remux != nil,
            log: log,
            wakeup: wakeup,
            broadcaster: broadcaster
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
            token: try Self.loadToken(configuration.bearerTokenFile, environment, log),
            wrongTokens: WrongTokens(log),
            wrongTokenCount: metrics.wrongTokens,
            eventSub: twitch?.service,
            hasRoom: { disk.refusal == nil }
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
            let emergency = EmergencyStop(plan: plan, roster: roster, context: context)
            try watchdog.stopInPlace { emergency.run($0, while: $1) }
            return try broadcaster.start(wakeup) { roster.active }
        }
        (self.configuration, self.plan) = (configuration, plan)
        (self.context, self.roster) = (context, roster)
        (self.broadcaster, self.broadcasting, self.twitch) = (broadcaster, broadcasting, twitch)
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

    /// Records until a signal ends it, or the drain that one began is over.
    ///
    /// - Returns: the exit status.
    consuming func run() throws(SystemError) -> CInt {
        var signal = try recoverEarlierRuns()
        if signal == nil { beginRecording() }
        var drainSignal: CInt = 0
        while true {
            if signal == SIGUSR1 {
                drainSignal = SIGUSR1
                Drain(roster: roster, context: context, broadcaster: broadcaster).begin()
            }
            let isDrained = signal == nil && roster.isDrained
            if isDrained || signal.map({ $0 != SIGUSR1 }) ?? false {
                watchdog.limitShutdown()
                var shutdown = Shutdown(plan, roster, context, services(), loop)
                let status = try shutdown.run(signal: signal ?? drainSignal)
                watchdog.shutdownEnded()
                return status
            }
            if loop.takeReload() { reload() }
            if !roster.isStuck(at: .now()) { context.publisher.heartbeat() }
            context.metrics.count(dropped: context.log.takeDroppedLines())
            Orphans.reap()  // Of the programs that streams start, when this is process 1.
            signal = try loop.wait(until: BootTime.now().advanced(by: .seconds(1)))
            startMissing()
        }
    }

    /// What a SIGHUP asks for: the log file is opened anew, since it may have been renamed.
    private borrowing func reload() {
        context.log.reopen()
        context.log(.info, "Reload requested", ["signal": "\(SIGHUP)"])
    }

    private mutating func beginRecording() {
        context.disk.look()
        missing += Job.allCases.filter { $0 != .recovery && isWanted($0) }
        startMissing()
        roster.open()
        if case .recording = roster.current { context.publisher.enter(.recording) }
    }

    /// What the shutdown ends in phases of their own.
    private borrowing func services() -> Shutdown.Services {
        Shutdown.Services(
            broadcaster: broadcasting,
            cleanup: housekeeping.service,
            eventSub: twitchTasks.isEmpty ? nil : twitch?.service(of: twitchTasks),
            announce: { [broadcaster] phase, deadline in
                let secondsLeft = deadline.since(.now()).inSeconds
                broadcaster.send(.stopping(phase, secondsLeft: secondsLeft))
            }
        )
    }

    /// Waits for the recovery, so that streams go on with the recordings that were cut short; but no longer than footage can.
    ///
    /// - Returns: the signal that ended the wait, if one did.
    private mutating func recoverEarlierRuns() throws(SystemError) -> CInt? {
        missing = [.recovery]
        startMissing()
        let patience = BootTime.now().advanced(by: .seconds(5))
        while !housekeeping.isIdle {
            let now = BootTime.now()
            guard now < patience else {
                context.log(.warn, "Recovery takes long, recording begins beside it")
                return nil
            }
            context.publisher.heartbeat()
            let next = min(patience, now.advanced(by: .seconds(1)))
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
                "recorder": roster.name,
                "streams": "\(roster.workers.count)",
                "listen": addresses.map { "\($0)" }.joined(separator: ","),
                "grace_period": "\(configuration.gracePeriod.inSeconds)s",
            ]
        )
        if let shortage = plan.shortage {
            log(.warn, "Grace period is short: less time to stop recordings", ["time": shortage])
        }
        let needed = Self.descriptors(forStreams: roster.workers.count)
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
        if let trouble = context.publisher.trouble {
            log(.warn, "Telemetry is impaired", ["trouble": trouble])
        }
    }
}

/// Work on threads of its own: where no thread or descriptor can be had, the rest goes on, and it is tried again each second.
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
        roster.startMissing()
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
            let roster = roster
            try context.disk.start { for worker in roster.workers { worker.checkPart() } }
        case .retention:
            let sweep = RetentionSweep(context: context, plan: configuration.retention)
            try housekeeping.start("retention") { sweep.run(until: $0) }
        case .remux:
            let deletesSource = configuration.remux?.deletesSource ?? false
            let remuxer = Remuxer(context: context, deletesSource: deletesSource)
            try housekeeping.start("remux") { remuxer.run(until: $0) }
        case .eventSub:
            if let task = try twitch?.startWebhook(context.wakeup) { twitchTasks.append(task) }
        case .subscriptions:
            if let task = try twitch?.startSubscriptions(context.wakeup) {
                twitchTasks.append(task)
            }
        }
    }
}

extension RecordingContext {
    /// Ends what the commands of an earlier run have started, and what a SIGKILL of the recorder has left running.
    ///
    /// Before streams start: it may hold the camera or the port that a command needs.
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
    /// Logs what became of the telemetry's file.
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
