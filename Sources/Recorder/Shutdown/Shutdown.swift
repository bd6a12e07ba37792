import Catalogue
import Glibc
import Media
import Posix
import StreamVaultTelemetry

/// Ends the recorder in phases, within the grace period; runs on the main thread.
///
/// A phase that exceeds its budget is abandoned and the next one begins: whatever hangs, the database is closed.
struct Shutdown: ~Copyable {
    private let plan: ShutdownPlan
    private let registry: StreamRegistry
    private let context: RecordingContext
    private let services: Services
    private let requestedAt = BootTime.now()
    private var loop: MainLoop
    /// Set by a second signal: from then on no phase waits longer than a second.
    private var isShortened = false

    init(
        _ plan: ShutdownPlan,
        _ registry: StreamRegistry,
        _ context: RecordingContext,
        _ services: Services,
        _ loop: consuming MainLoop
    ) {
        (self.plan, self.registry, self.context) = (plan, registry, context)
        self.services = services
        self.loop = loop
    }

    /// Runs all phases.
    ///
    /// - Returns: the exit status: 0, or 1 if a recording was not finalized.
    mutating func run(signal: CInt) throws(SystemError) -> CInt {
        context.publisher.beginShutdown(
            signal: signal,
            gracePeriod: plan.gracePeriod,
            phases: plan.declared
        )
        show(.signal)
        context.log.plain("🛑 Starting application shutdown...")
        // Immediately, since the recordings need the disk now.
        services.cleanup.stop(requestedAt)
        enter(.recordings, after: .ok)
        let (outcome, isFinalized) = try stopRecordings()
        enter(.broadcaster, after: outcome)
        context.log.plain("🔄 Stopping active recordings broadcaster...")
        enter(.cleanup, after: try stop(services.broadcaster, in: .broadcaster))
        context.log.plain("🔄 Cancelling cleanup task...")
        enter(.eventsub, after: try stop(services.cleanup, in: .cleanup))
        context.log.plain("🔄 Stopping EventSub...")
        enter(.database, after: try stop(services.eventSub, in: .eventsub))
        let closed = try closeDatabase()
        context.log.plain("🎯 Application shutdown complete")
        let status: CInt = isFinalized ? 0 : 1
        context.metrics.count(dropped: context.log.takeDroppedLines())
        context.publisher.finish(closed, exitStatus: status)
        logLastPhase()
        context.log(.info, "Exiting", ["status": "\(status)"])
        return status
    }

    private func enter(_ phase: Phase, after outcome: PhaseOutcome) {
        context.publisher.beginPhase(phase.rawValue, after: outcome)
        logLastPhase()
        show(phase)
    }

    private func show(_ phase: Phase) {
        loop.noteProgress()
        let deadline = requestedAt.advanced(by: plan.gracePeriod)
        registry.showShutdown(in: phase, deadline: deadline)
        let secondsLeft = deadline.since(.now()).inSeconds
        context.broadcaster.send(.stopping(phase, secondsLeft: secondsLeft))
    }

    private func logLastPhase() {
        guard let (name, outcome, duration) = context.publisher.endedPhases.last else { return }
        context.log(
            .info,
            "Shutdown phase ended",
            ["phase": name, "outcome": "\(outcome)", "seconds": duration.inMicroseconds]
        )
    }
}

extension Shutdown {
    /// Stops all recordings at the same time; whether each was finalized.
    private mutating func stopRecordings() throws(SystemError) -> (PhaseOutcome, isFinalized: Bool)
    {
        context.log.plain("🔄 Gracefully shutting down recording service...")
        let failuresBefore = registry.failureCount
        for recording in registry.active {
            context.log.plain("📹 Stopping active recording for stream \(recording.stream)...")
        }
        for worker in registry.workers { worker.shutDown() }
        if !registry.active.isEmpty { context.log.plain("📁 Finalizing recording files...") }
        let registry = registry
        let isDone = try wait(in: .recordings) { registry.workers.allSatisfy(\.hasEnded) }
        guard isDone else {
            reportUnfinished()
            return (.timeout, false)
        }
        guard registry.failureCount == failuresBefore else {
            context.log.plain("❌ Error during recording service shutdown: finalizing failed")
            return (.error, false)
        }
        context.log.plain("✅ Recording service shutdown completed")
        return (.ok, true)
    }

    private func reportUnfinished() {
        for recording in registry.active {
            let end = RecordingEnd(
                recordingID: recording.id,
                status: .abandoned,
                failureReason: FinalizeError.Reason.timeout.rawValue,
                endedAt: UTCTime(.now()),
                endedBoot: .now()
            )
            context.journal.append(.recordingEnded(end))
            context.metrics.finalizeErrors[.timeout]?.add()
            context.log.plain("❌ Error finalizing recording: timeout")
            context.log(
                .error,
                "Recording left behind, for the next start",
                ["stream": recording.stream, "path": recording.filePath]
            )
        }
        context.log.plain("❌ Error during recording service shutdown: timeout")
    }

    /// Stops a service, if there is one.
    private mutating func stop(
        _ service: RunningService?,
        in phase: Phase
    ) throws(SystemError) -> PhaseOutcome {
        guard let service else { return .ok }
        // A little before the end of the phase, so that the service's last actions are part of the phase.
        service.stop(BootTime.now().advanced(by: deadline(of: phase).since(.now()) * 0.8))
        guard try wait(in: phase, until: { service.hasEnded }) else {
            context.log.plain("❌ Error stopping \(phase.rawValue): timeout")
            return .timeout
        }
        guard let error = service.failure else { return .ok }
        context.log.plain("❌ Error stopping \(phase.rawValue): \(error)")
        return .error
    }

    /// Closes the catalogue on a thread of its own, which is abandoned if it hangs.
    private mutating func closeDatabase() throws(SystemError) -> PhaseOutcome {
        context.log.plain("🔄 Closing database connections...")
        let (journal, wakeup) = (context.journal, context.wakeup)
        // Before the end of the phase, so that an error is reported.
        let now = BootTime.now()
        let deadline = now.advanced(by: deadline(of: .database).since(now) * 0.8)
        let close = { @Sendable () throws(CatalogueError) in try journal.close(until: deadline) }
        guard let closing = try? BackgroundTask(named: "database", wakeup, close) else {
            // No thread can be started: closing it here, perhaps late, is better than not closing it.
            return noteDatabase(Result(catching: close))
        }
        _ = try wait(in: .database) { closing.result != nil }
        return noteDatabase(closing.result)
    }

    private func noteDatabase(_ result: Result<Void, CatalogueError>?) -> PhaseOutcome {
        switch result {
        case .success:
            context.log.plain("✅ Database connections closed")
            return .ok
        case .failure(let error):
            context.log.plain("❌ Error disposing database engine: \(error)")
            return error == .connectionPoolExhausted ? .timeout : .error
        case nil:
            context.log.plain("❌ Error disposing database engine: timeout")
            return .timeout
        }
    }

    private func deadline(of phase: Phase) -> BootTime {
        let now = BootTime.now()
        let deadline = plan.deadline(of: phase, from: now, requestedAt: requestedAt)
        return isShortened ? min(deadline, now.advanced(by: .seconds(1))) : deadline
    }

    /// Waits until `isDone` or the phase's deadline, with heartbeats; a second signal shortens the wait.
    private mutating func wait(
        in phase: Phase,
        until isDone: () -> Bool
    ) throws(SystemError) -> Bool {
        var deadline = deadline(of: phase)
        while !isDone() {
            let now = BootTime.now()
            guard now < deadline else { return false }
            context.heartbeat()
            context.metrics.count(dropped: context.log.takeDroppedLines())
            let next = min(deadline, now.advanced(by: .seconds(1)))
            let signal = try loop.wait(until: next)
            if loop.takeReload() { context.log.reopen() }
            guard let signal, shortensShutdown(signal), !isShortened else { continue }
            context.log(.warn, "Second signal: hurrying", ["phase": phase.rawValue])
            isShortened = true
            deadline = min(deadline, self.deadline(of: phase))
        }
        return true
    }
}

extension Shutdown {
    /// The services that have a phase of their own.
    struct Services: Sendable {
        let broadcaster: RunningService
        /// Recovery, retention and conversions.
        let cleanup: RunningService
        /// `nil` without Twitch.
        let eventSub: RunningService?
    }
}

/// A service on threads of its own that a phase of the shutdown ends.
struct RunningService: Sendable {
    let tasks: [BackgroundTask<SystemError>]
    /// Asks the service to end by a deadline; does not wait.
    let stop: @Sendable (BootTime) -> Void

    var hasEnded: Bool { tasks.allSatisfy { $0.result != nil } }

    /// The error with which it ended.
    var failure: SystemError? {
        for task in tasks {
            if case .failure(let error) = task.result { return error }
        }
        return nil
    }
}

/// Stops and finalizes the recordings while the main loop hangs.
///
/// The recording threads do not need the main loop for that. The steps are ordered by the locks that they need, fewest first.
struct EmergencyStop: Sendable {
    let plan: ShutdownPlan
    let registry: StreamRegistry
    let context: RecordingContext

    /// Continues while `loopHangs`: a main loop that runs again does the shutdown itself.
    func run(_ request: StopRequest, while loopHangs: () -> Bool) {
        for worker in registry.workers { worker.shutDown() }
        registry.showShutdown(in: .recordings, deadline: request.at.advanced(by: plan.gracePeriod))
        let publisher = context.publisher
        publisher.beginShutdown(
            signal: request.signal,
            gracePeriod: plan.gracePeriod,
            phases: plan.declared
        )
        publisher.beginPhase(Phase.recordings.rawValue, after: .timeout)
        let deadline = plan.deadline(of: .recordings, from: .now(), requestedAt: request.at)
        guard let pause = try? StopSignal() else { return }
        while !registry.workers.allSatisfy(\.hasEnded), BootTime.now() < deadline {
            _ = pause.wait(until: BootTime.now().advanced(by: .milliseconds(50)))
            guard loopHangs() else { return }
        }
        let isComplete = registry.workers.allSatisfy(\.hasEnded)
        publisher.beginPhase(Phase.database.rawValue, after: isComplete ? .ok : .timeout)
        guard loopHangs() else { return }
        let closed = closeDatabase(request)
        guard loopHangs() else { return }
        publisher.finish(closed, exitStatus: 1)
        context.log(
            .error,
            "Main loop stood still: stopped without it",
            ["signal": "\(request.signal)", "recordings": isComplete ? "finalized" : "left behind"]
        )
        context.log.flush(within: .milliseconds(100))
    }

    private func closeDatabase(_ request: StopRequest) -> PhaseOutcome {
        let now = BootTime.now()
        let phase = plan.deadline(of: .database, from: now, requestedAt: request.at)
        // Before the end of the phase, so that an error is reported.
        let deadline = now.advanced(by: phase.since(now) * 0.8)
        do throws(CatalogueError) {
            try context.journal.close(until: deadline)
            return .ok
        } catch {
            return error == .connectionPoolExhausted ? .timeout : .error
        }
    }
}

/// Whether a signal during the shutdown shortens it; SIGHUP of a closed terminal and SIGUSR1 do not.
private func shortensShutdown(_ signal: CInt) -> Bool { signal != SIGUSR1 && signal != SIGHUP }

extension Duration {
    /// Seconds with six decimals: `Double` would write a very short time with an exponent.
    fileprivate var inMicroseconds: String {
        let (seconds, rest) = (wholeNanoseconds / 1000).quotientAndRemainder(dividingBy: 1_000_000)
        return "\(seconds).\(String(1_000_000 + rest).dropFirst())"
    }
}

extension StreamRegistry {
    fileprivate var failureCount: Int { workers.reduce(0) { $0 + $1.failures } }
}
