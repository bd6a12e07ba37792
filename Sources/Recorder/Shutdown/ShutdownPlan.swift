import Posix
import StreamVaultTelemetry

/// The steps of a shutdown, in their order; the raw value is the label of the metrics.
enum Phase: String, CaseIterable, Sendable {
    case signal, recordings, broadcaster, cleanup, eventsub, database

    /// The budget of the phase if the grace period is long enough.
    var fullBudget: Duration {
        switch self {
        case .signal: .milliseconds(500)
        case .recordings: .seconds(30)
        case .broadcaster, .cleanup, .eventsub: .seconds(1)
        case .database: .seconds(5)
        }
    }
}

/// How a shutdown's phases share the grace period.
struct ShutdownPlan: Equatable, Sendable {
    let gracePeriod: Duration
    /// Reserved for the exit itself, so that it comes before the SIGKILL.
    let margin: Duration
    private let budgets: [Phase: Duration]

    /// Gives phases their full budgets, or all of them the same share of these if the grace period is too short.
    init(gracePeriod: Duration) {
        self.gracePeriod = gracePeriod
        margin = min(.seconds(2), gracePeriod / 10)
        let full = Phase.allCases.reduce(Duration.zero) { $0 + $1.fullBudget }
        let share = min(1, (gracePeriod - margin) / full)
        budgets = Dictionary(
            uniqueKeysWithValues: Phase.allCases.map { ($0, $0.fullBudget * share) }
        )
    }

    /// Time from the signal after which the process ends even if a phase cannot be abandoned; late enough for a slow end.
    var totalTime: Duration { gracePeriod - margin / 4 }

    func budget(of phase: Phase) -> Duration { budgets[phase] ?? .zero }

    /// When a phase that begins at `now` is abandoned.
    ///
    /// Later phases keep their budgets whatever the earlier ones took, so the database is always closed.
    func deadline(of phase: Phase, from now: BootTime, requestedAt: BootTime) -> BootTime {
        let later = Phase.allCases.drop { $0 != phase }.dropFirst()
        let reserved = later.reduce(margin) { $0 + budget(of: $1) }
        let last = requestedAt.advanced(by: max(.zero, gracePeriod - reserved))
        return min(now.advanced(by: budget(of: phase)), last)
    }

    /// A warning for the log if phases get less than their full budgets.
    var shortGraceWarning: String? {
        let given = budget(of: .recordings)
        guard given < Phase.recordings.fullBudget else { return nil }
        return "\(given.inTenths) of \(Phase.recordings.fullBudget.inTenths)"
    }

    /// The phases as the telemetry declares them.
    var declared: [PhaseBudget] {
        Phase.allCases.map { PhaseBudget($0.rawValue, budget: budget(of: $0)) }
    }
}

extension Duration {
    fileprivate var inTenths: String { "\((inSeconds * 10).rounded() / 10)s" }
}
