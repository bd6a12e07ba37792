import Posix
import StreamVaultTelemetry

/// Stops and finalizes the recordings in place of a main loop that stands still.
///
/// The threads that record need no main loop for that. What is asked of them first needs the fewest locks.
struct EmergencyStop: Sendable {
    let plan: ShutdownPlan
    let roster: Roster
    let context: RecordingContext

    /// Goes on while `loopStandsStill`: a main loop that turns again runs the shutdown itself.
    func run(_ request: StopRequest, while loopStandsStill: () -> Bool) {
        for worker in roster.workers { worker.shutDown() }
        roster.showShutdown(in: .recordings, deadline: request.at.advanced(by: plan.gracePeriod))
        let publisher = context.publisher
        publisher.beginShutdown(
            signal: request.signal,
            gracePeriod: plan.gracePeriod,
            phases: plan.declared
        )
        publisher.beginPhase(Phase.recordings.rawValue, after: .timeout)
        let deadline = plan.deadline(of: .recordings, from: .now(), requestedAt: request.at)
        guard let pause = try? StopSignal() else { return }
        while !roster.workers.allSatisfy(\.hasEnded), BootTime.now() < deadline {
            _ = pause.wait(until: BootTime.now().advanced(by: .milliseconds(50)))
            guard loopStandsStill() else { return }
        }
        let isComplete = roster.workers.allSatisfy(\.hasEnded)
        publisher.beginPhase(Phase.database.rawValue, after: isComplete ? .ok : .timeout)
        guard loopStandsStill() else { return }
        let closed = closeDatabase(request)
        guard loopStandsStill() else { return }
        publisher.goodbye(closed, exitStatus: 1)
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
        // Sooner than the phase, so that its error is heard.
        let deadline = now.advanced(by: phase.since(now) * 0.8)
        do throws(CatalogueError) {
            try context.journal.close(until: deadline)
            return .ok
        } catch {
            return error == .connectionPoolExhausted ? .timeout : .error
        }
    }
}
