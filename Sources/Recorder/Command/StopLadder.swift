import Glibc
import Posix

/// One request to a program to end, and the time it is given to do so.
struct StopStage: Equatable, Sendable {
    /// The signal for the program's group; `nil` only waits.
    var signal: CInt?
    var patience: Duration

    /// SIGINT, on which recording programs finish their output, then SIGTERM, then SIGKILL.
    static let standard = [
        StopStage(signal: SIGINT, patience: .seconds(2)),
        StopStage(signal: SIGTERM, patience: .seconds(2)),
        StopStage(signal: SIGKILL, patience: .seconds(1)),
    ]
}

extension [StopStage] {
    /// The same stages, each shortened alike where all of them together would take longer than `limit`.
    func fitted(into limit: Duration) -> [StopStage] {
        let total = reduce(Duration.zero) { $0 + $1.patience }
        guard total > limit else { return self }
        return map { StopStage(signal: $0.signal, patience: $0.patience * (limit / total)) }
    }
}

/// The way from a request to end to giving up, one stage after the other.
struct StopLadder {
    enum Step: Equatable {
        /// Nothing is due before this time.
        case wait(until: BootTime)
        case signal(CInt)
        /// Every stage has passed.
        case giveUp
    }

    private var rest: ArraySlice<StopStage>
    private var deadline: BootTime

    /// The first stage is due at `now`.
    init(_ stages: [StopStage], at now: BootTime) {
        rest = stages[...]
        deadline = now
    }

    /// What to do at `now`; each stage's signal is told once.
    mutating func step(at now: BootTime) -> Step {
        while now >= deadline {
            guard let stage = rest.popFirst() else { return .giveUp }
            deadline = now.advanced(by: stage.patience)
            if let signal = stage.signal { return .signal(signal) }
        }
        return .wait(until: deadline)
    }
}
