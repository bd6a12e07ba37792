import Posix
import Synchronization

extension Publisher {
    /// Says that a shutdown has been asked for; its first phase begins with the same write.
    ///
    /// - Parameters:
    ///   - signal: number of the signal, 0 for none.
    ///   - gracePeriod: granted for all of it; `nil` when not known.
    ///   - phases: declared at the start, with the budgets that they now have; names that were not declared are left out.
    public func beginShutdown(signal: Int32, gracePeriod: Duration?, phases: [ShutdownPhase] = []) {
        let (boot, wall) = (BootTime.now(), WallTime.now())
        segment.board.withLock { board in
            board.change { lifecycle in
                guard !lifecycle.state.isEnding else { return }
                lifecycle.state = .stopping
                lifecycle.signal = UInt32(clamping: signal)
                (lifecycle.requestedBoot, lifecycle.requestedWall) = (boot, wall)
                lifecycle.gracePeriod = gracePeriod?.wholeNanoseconds ?? 0
                if let gracePeriod { lifecycle.deadline = boot.advanced(by: gracePeriod) }
                lifecycle.setBudgets(phases)
                lifecycle.begin(phase: lifecycle.phases.first?.name, at: boot)
            }
        }
    }

    /// Says that a phase begins; the one that runs ends with `outcome` in the same write and at the same moment.
    ///
    /// A name that was not declared, or whose phase has run, only ends the one that runs.
    public func beginPhase(_ name: String, after outcome: PhaseOutcome = .ok) {
        let now = BootTime.now()
        segment.board.withLock { board in
            board.change { lifecycle in
                guard lifecycle.state == .stopping else { return }
                lifecycle.endPhase(outcome, at: now)
                lifecycle.begin(phase: name, at: now)
            }
        }
    }

    /// Says that the phase that runs ends, and none follows yet.
    public func endPhase(_ outcome: PhaseOutcome = .ok) {
        let now = BootTime.now()
        segment.board.withLock { board in
            board.change { lifecycle in
                guard lifecycle.state == .stopping else { return }
                lifecycle.endPhase(outcome, at: now)
            }
        }
    }

    /// The last word: the last phase ends with `outcome`, and the process exits with `exitStatus`, now.
    ///
    /// Only the first one counts; recordings that are still open then are abandoned.
    public func goodbye(_ outcome: PhaseOutcome = .ok, exitStatus: Int32) {
        let (boot, wall) = (BootTime.now(), WallTime.now())
        segment.board.withLock { board in
            board.change { lifecycle in
                guard lifecycle.state != .stopped else { return }
                lifecycle.endPhase(outcome, at: boot)
                lifecycle.state = .stopped
                (lifecycle.endedBoot, lifecycle.endedWall) = (boot, wall)
                lifecycle.exitStatus = exitStatus
            }
        }
        heartbeat()
    }

    /// Durations of the phases that have ended, by name, in their order: what the log says, to the nanosecond.
    public var endedPhases: [(name: String, outcome: PhaseOutcome, duration: Duration)] {
        segment.board.withLock { board in
            board.lifecycle.phases.compactMap { phase in
                guard case .ended(let outcome) = phase.state else { return nil }
                return (phase.name, outcome, phase.ended.since(phase.started))
            }
        }
    }
}

extension Lifecycle {
    fileprivate mutating func setBudgets(_ given: [ShutdownPhase]) {
        for phase in given {
            guard
                let index = phases.firstIndex(where: {
                    ExactText($0.name) == ExactText(phase.name)
                })
            else { continue }
            phases[index].budget = phase.budget.wholeNanoseconds
        }
    }

    fileprivate mutating func begin(phase name: String?, at now: BootTime) {
        guard let name = name.map(ExactText.init),
            let index = phases.firstIndex(where: {
                ExactText($0.name) == name && $0.state == .pending
            })
        else { return }
        phases[index].state = .running
        phases[index].started = now
    }

    fileprivate mutating func endPhase(_ outcome: PhaseOutcome, at now: BootTime) {
        guard let index = runningPhase else { return }
        phases[index].state = .ended(outcome)
        phases[index].ended = now
    }
}
