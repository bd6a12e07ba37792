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
    /// `isOwned` says whether a process holds the segment's lock; `silence` is the time since the last sign of life,
    /// `nil` when its stamp is from another boot.
    package static func judge(
        _ lifecycle: Lifecycle,
        openRecordings: Int,
        isOwned: Bool,
        silence: Duration?,
        heartbeatInterval: Duration
    ) -> Verdict {
        switch lifecycle.state {
        case .stopped:
            let isClean = lifecycle.phases.allSatisfy { $0.state.isFine } && openRecordings == 0
            return .ended(isClean ? .clean : .degraded)
        case .stopping:
            // A silent shutdown is not judged: a restart now would cost what is being finalized.
            return isOwned ? .alive : .ended(.killed)
        case .starting, .recording, .draining:
            guard isOwned else { return .ended(.crashed) }
            let patience = patience(heartbeatInterval: heartbeatInterval)
            return silence ?? .zero > patience ? .hung : .alive
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
