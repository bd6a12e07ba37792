import Posix
import StreamVaultTelemetry

/// The steps of a shutdown, in their order; the raw value is the label of the metrics.
enum Phase: String, CaseIterable, Sendable {
    case signal, recordings, broadcaster, cleanup, eventsub, database

    /// Time that a phase is given when the grace period leaves enough.
    var wanted: Duration {
        switch self {
        case .signal: .milliseconds(500)
        case .recordings: .seconds(30)
        case .broadcaster, .cleanup, .eventsub: .seconds(1)
        case .database: .seconds(5)
        }
    }
}

/// How the time granted to a shutdown is shared among its phases.
struct ShutdownPlan: Equatable, Sendable {
    let gracePeriod: Duration
    /// Kept back for the exit itself, so that it comes before the SIGKILL.
    let margin: Duration
    private let budgets: [Phase: Duration]

    /// Phases get what they want, or all of them the same share of it where that is too much.
    init(gracePeriod: Duration) {
        self.gracePeriod = gracePeriod
        margin = min(.seconds(2), gracePeriod / 10)
        let wanted = Phase.allCases.reduce(Duration.zero) { $0 + $1.wanted }
        let share = min(1, (gracePeriod - margin) / wanted)
        budgets = Dictionary(
            uniqueKeysWithValues: Phase.allCases.map { ($0, $0.wanted * share) }
        )
    }

    /// How long after the signal the process ends even if a phase cannot be left: not before an end that is only slow.
    var longest: Duration { gracePeriod - margin / 4 }

    func budget(of phase: Phase) -> Duration { budgets[phase] ?? .zero }

    /// When a phase that begins at `now` is left behind.
    ///
    /// Later phases keep their slices whatever the earlier ones took, so the database is always closed.
    func deadline(of phase: Phase, from now: BootTime, requestedAt: BootTime) -> BootTime {
        let later = Phase.allCases.drop { $0 != phase }.dropFirst()
        let reserved = later.reduce(margin) { $0 + budget(of: $1) }
        let last = requestedAt.advanced(by: max(.zero, gracePeriod - reserved))
        return min(now.advanced(by: budget(of: phase)), last)
    }

    /// What the log says at the start when phases get less than they want; `nil` when they do not.
    var shortage: String? {
        let given = budget(of: .recordings)
        guard given < Phase.recordings.wanted else { return nil }
        return "\(given.inTenths) of \(Phase.recordings.wanted.inTenths)"
    }

    /// The phases as the telemetry declares them.
    var declared: [ShutdownPhase] {
        Phase.allCases.map { ShutdownPhase($0.rawValue, budget: budget(of: $0)) }
    }
}

extension Duration {
    fileprivate var inTenths: String { "\((inSeconds * 10).rounded() / 10)s" }
}
