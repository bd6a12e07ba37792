import Posix

/// A service on threads of its own, which a phase of the shutdown ends.
struct RunningService: Sendable {
    let tasks: [BackgroundTask<SystemError>]
    /// Asks it to end by then; does not wait.
    let stop: @Sendable (BootTime) -> Void

    var hasEnded: Bool { tasks.allSatisfy { $0.result != nil } }

    /// Why it ended by itself, or badly.
    var failure: SystemError? {
        for task in tasks {
            if case .failure(let error) = task.result { return error }
        }
        return nil
    }
}
