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
    private var loop: MainLoop

    init(_ configuration: Configuration, version: String) throws(StartError) {
        let log = try Self.openLog(configuration.logFile)
        try Self.checkDirectory(configuration.recordingsDirectory)
        let wakeup = try StartError.wrapping { () throws(SystemError) in try Wakeup() }
        // Signals are caught from here on: one that comes during the start ends what was started.
        let loop = try StartError.wrapping { () throws(SystemError) in try MainLoop(wakeup) }
        let server = try Self.listen(configuration.listenAddresses)
        let plan = ShutdownPlan(gracePeriod: configuration.gracePeriod)
        let publisher = try Self.publish(configuration, plan, version: version)
        let metrics = RecorderMetrics(publisher)
        let context = RecordingContext(
            directory: configuration.recordingsDirectory,
            syncInterval: configuration.syncInterval,
            sourcePatience: plan.budget(of: .recordings) * 0.75,
            publisher: publisher,
            metrics: metrics,
            catalogue: try Self.openCatalogue(configuration.cataloguePath, metrics),
            log: log,
            wakeup: wakeup
        )
        let roster = Roster(
            name: configuration.recorderName,
            workers: try Self.workers(configuration.streams, context)
        )
        (self.configuration, self.plan) = (configuration, plan)
        (self.context, self.roster) = (context, roster)
        self.loop = loop
        logStart(server.addresses)
        APIServer(server).start(RecorderAPI(roster: roster), log)
    }

    /// Records until a signal ends it.
    ///
    /// - Returns: the exit status.
    consuming func run() throws(SystemError) -> CInt {
        recover()
        try DiskWatch.start(context.directory, context.metrics)
        for worker in roster.workers { worker.start() }
        context.publisher.enter(.recording)
        while true {
            if !roster.isStuck(at: .now()) { context.publisher.heartbeat() }
            Orphans.reap()  // Of the programs that streams start, when this is process 1.
            let next = BootTime.now().advanced(by: .seconds(1))
            guard let signal = try loop.wait(until: next) else { continue }
            var shutdown = Shutdown(plan, roster, context, loop)
            return try shutdown.run(signal: signal)
        }
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
