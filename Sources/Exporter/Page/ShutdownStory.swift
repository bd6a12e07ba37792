import Posix
import StreamVaultTelemetry

/// A shutdown, running or over, as the page tells it.
struct ShutdownStory {
    /// One phase that has begun, or is still to come.
    struct Step {
        enum State: String {
            case waiting, running, ok, error, timeout, killed
            /// The shutdown was over before it began.
            case skipped = "not begun"
        }

        let name: String
        let state: State
        /// From the shutdown's start to the phase's.
        let start: Duration
        let duration: Duration
        /// Zero when none is known.
        let budget: Duration

        var hasBegun: Bool { state != .waiting && state != .skipped }

        var tone: Tone {
            switch state {
            case .waiting, .skipped: .quiet
            case .running: .busy
            case .ok: .well
            case .error, .timeout: .warn
            case .killed: .bad
            }
        }
    }

    let steps: [Step]
    let elapsed: Duration
    /// `nil` when none is known.
    let grace: Duration?

    /// How long after the grace period's end it still ran; zero as long as it is inside.
    var overrun: Duration { grace.map { max(.zero, elapsed - $0) } ?? .zero }

    var left: Duration? { grace.map { max(.zero, $0 - elapsed) } }

    /// One that is under way.
    init(_ lifecycle: Lifecycle, now: BootTime) {
        self.init(lifecycle, until: now, pending: .waiting, cut: .running)
    }

    /// One that is over; `nil` for a run that ended without one.
    init?(_ run: PastRun) {
        guard run.lifecycle.requestedBoot.nanoseconds > 0 else { return nil }
        let end = run.lifecycle.requestedBoot.advanced(by: .nanoseconds(run.shutdownDuration))
        let cut = run.end == .killed ? Step.State.killed : .timeout
        self.init(run.lifecycle, until: end, pending: .skipped, cut: cut)
    }

    /// - Parameters:
    ///   - lifecycle: with a shutdown in it.
    ///   - now: the end, when it is over.
    ///   - pending: what a phase is that has not begun.
    ///   - cut: what one is that has begun and not ended.
    private init(
        _ lifecycle: Lifecycle,
        until now: BootTime,
        pending: Step.State,
        cut: Step.State
    ) {
        let began = lifecycle.requestedBoot
        steps = lifecycle.phases.map { phase in
            let (state, end): (Step.State, BootTime) =
                switch phase.state {
                case .pending: (pending, phase.started)
                case .running: (cut, now)
                case .ended(.ok): (.ok, phase.ended)
                case .ended(.error): (.error, phase.ended)
                case .ended(.timeout): (.timeout, phase.ended)
                }
            return Step(
                name: phase.name,
                state: state,
                start: phase.started.since(began),
                duration: end.since(phase.started),
                budget: .nanoseconds(phase.budget)
            )
        }
        elapsed = now.since(began)
        grace = lifecycle.gracePeriod > 0 ? .nanoseconds(lifecycle.gracePeriod) : nil
    }
}
