import Posix
import StreamVaultTelemetry

/// How a recorder of the fleet ends.
enum Ending: String {
    /// Every phase is well.
    case clean
    /// The recordings take more than their budget; one is left behind.
    case degraded
    /// The grace period ends while recordings are still being finalized.
    case killed
    /// It dies without having been asked to stop.
    case crashed
}

/// What a recorder does from the request to its end, and when.
struct ShutdownScript {
    enum Step {
        case end(recording: Int)
        case phase(String, after: PhaseOutcome)
        case goodbye(exitStatus: Int32)
        case die
    }

    static let grace = Duration.seconds(60)
    private static let recordingsBudget = Duration.seconds(30)

    /// The next one last.
    private var steps: [(moment: BootTime, step: Step)] = []

    /// `time` is what the recordings take that are finalized: of those that are `open` all, or all but one.
    init(_ ending: Ending, recordings time: Duration, open: Int, from start: BootTime) {
        var moment = start
        func add(_ step: Step, after duration: Duration) {
            moment = moment.advanced(by: duration)
            steps.append((moment, step))
        }
        defer { steps.reverse() }
        guard ending != .crashed else {
            add(.die, after: .zero)
            return
        }
        add(.phase("recordings", after: .ok), after: .milliseconds(1))
        let finalized = ending == .clean ? open : open - 1
        for recording in 0..<finalized { add(.end(recording: recording), after: time / finalized) }
        if ending == .killed {
            moment = start
            add(.die, after: Self.grace)
            return
        }
        if ending == .degraded { moment = start.advanced(by: Self.recordingsBudget) }
        add(.phase("broadcaster", after: ending == .degraded ? .timeout : .ok), after: .zero)
        add(.phase("cleanup", after: .ok), after: .milliseconds(40))
        add(.phase("eventsub", after: .ok), after: .milliseconds(15))
        add(.phase("database", after: .ok), after: .milliseconds(230))
        add(.goodbye(exitStatus: ending == .degraded ? 1 : 0), after: .milliseconds(310))
    }

    /// When the next step is due; `nil` after the last one.
    var nextMoment: BootTime? { steps.last?.moment }

    /// The next step, if it is due.
    mutating func next(at now: BootTime) -> Step? {
        guard let next = steps.last, next.moment <= now else { return nil }
        return steps.removeLast().step
    }
}
