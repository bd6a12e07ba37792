import Fetch
import FoundationEssentials
import JSON
import Posix

/// `wait-idle URL`: waits until a recorder can be replaced without harm.
struct WaitIdle: Equatable, Sendable {
    let url: URL
    let timeout: Duration
    let interval: Duration

    /// Asks until the recorder is idle or the time is over; `say` is given a line for people when there is news.
    func run(_ stop: StopSignal, say: (String) -> Void) -> IdleWatch.Outcome {
        let deadline = BootTime.now().advanced(by: timeout)
        var watch = IdleWatch()
        var said = ""
        while true {
            let outcome = watch.take(ask(stop), at: .now())
            if watch.news != said { say(watch.news) }
            said = watch.news
            let end = min(deadline, watch.end ?? deadline)
            if outcome == .idle || BootTime.now() >= end { return outcome }
            let next = min(BootTime.now().advanced(by: interval), end)
            if stop.wait(until: next) { return outcome }
        }
    }

    /// What the recorder says; `nil` when it is something else that answers.
    private func ask(_ stop: StopSignal) -> Result<RecorderActivity?, FetchError> {
        Result { () throws(FetchError) in
            let limits = FetchLimits(bytes: 1 << 20, timeout: .seconds(10))
            let address = url.appending(path: "api/status/recordings-active")
            let body = try Fetcher(userAgent: userAgent).get(address, limits: limits, until: stop)
            return RecorderActivity(json: body.bytes)
        }
    }
}
