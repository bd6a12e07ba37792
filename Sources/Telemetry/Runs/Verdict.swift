/// How a run ended; the name is the label of `streamvault_last_shutdown_outcome`.
package enum RunEnd: UInt32, CaseIterable, Sendable {
    /// By itself, every phase ok, no recording left behind.
    case clean = 1
    /// By itself, but a phase failed or ran out of its budget, or a recording was left behind.
    case degraded
    /// It died after its shutdown had begun.
    case killed
    /// It died without one.
    case crashed

    package var label: String { "\(self)" }
}

/// What is the case with a recorder, judged from outside.
package enum Verdict: Hashable, Sendable {
    case alive
    /// Its process lives, its loop does not: no heartbeat for three intervals and at least ten seconds.
    case hung
    case ended(RunEnd)

    /// The one rule, used by an exporter on a living run and by the next run on a dead one.
    ///
    /// A shutdown that is silent is not judged before its deadline, or for ten minutes where it has none: a restart would
    /// cost what is being finalized. Later it counts as hung, since a lock proves no life: anybody who may write to the file
    /// can hold one.
    ///
    /// `isOwned` says whether a process holds the segment's lock. `silence` is the time since the last sign of life, and
    /// `overdue` the time since the deadline of the shutdown; `nil` when it is not known.
    package static func judge(
        _ lifecycle: Lifecycle,
        openRecordings: Int,
        isOwned: Bool,
        silence: Duration?,
        overdue: Duration? = nil,
        heartbeatInterval: Duration
    ) -> Verdict {
        let patience = Self.patience(heartbeatInterval: heartbeatInterval)
        let isSilent = silence ?? .zero > patience
        switch lifecycle.state {
        case .stopped:
            let isClean = lifecycle.phases.allSatisfy { $0.state.isFine } && openRecordings == 0
            return .ended(isClean ? .clean : .degraded)
        case .stopping:
            guard isOwned else { return .ended(.killed) }
            let isOver = overdue.map { $0 > patience } ?? (silence ?? .zero > .seconds(600))
            return isSilent && isOver ? .hung : .alive
        case .starting, .recording, .draining:
            guard isOwned else { return .ended(.crashed) }
            return isSilent ? .hung : .alive
        }
    }

    /// How long a run may be without a heartbeat before it counts as hung.
    package static func patience(heartbeatInterval: Duration) -> Duration {
        max(.seconds(10), heartbeatInterval * 3)
    }
}

extension PhaseRecord.State {
    /// A phase that was never entered is fine: not every shutdown needs every phase.
    fileprivate var isFine: Bool {
        switch self {
        case .pending, .ended(.ok): true
        case .running, .ended(.error), .ended(.timeout): false
        }
    }
}
