import Posix

/// Work beside the recordings, each job on a thread of its own; a shutdown ends it, and leaves behind what hangs.
struct Housekeeping {
    private let stop: StopSignal
    private let wakeup: Wakeup
    private var jobs: [BackgroundTask<SystemError>] = []

    init(_ wakeup: Wakeup) throws(SystemError) {
        stop = try StopSignal()
        self.wakeup = wakeup
    }

    /// Whether no job is under way.
    var isIdle: Bool { jobs.allSatisfy { $0.result != nil } }

    /// Starts a job, which ends soon after its signal is given.
    @discardableResult
    mutating func start(
        _ name: String,
        _ job: @escaping @Sendable (StopSignal) -> Void
    ) throws(SystemError) -> BackgroundTask<SystemError> {
        let started = try BackgroundTask(named: name, wakeup) { [stop] () throws(SystemError) in
            job(stop)
        }
        jobs.append(started)
        return started
    }

    /// All that was started, for the shutdown to end.
    var service: RunningService { RunningService(tasks: jobs) { [stop] _ in stop.request() } }
}
