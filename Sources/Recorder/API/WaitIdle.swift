import Fetch
import FoundationEssentials
import JSON
import Posix

/// `wait-idle URL`: waits until a recorder can be replaced without interrupting a recording.
struct WaitIdle: Equatable, Sendable {
    let url: URL
    let timeout: Duration
    let interval: Duration

    /// Polls until the recorder is idle or the timeout is over; calls `report` with a line for people when the state changes.
    func run(_ stop: StopSignal, report: (String) -> Void) -> IdleCheck.Outcome {
        let deadline = BootTime.now().advanced(by: timeout)
        var check = IdleCheck()
        var reported = ""
        while true {
            let outcome = check.apply(query(stop), at: .now())
            if check.message != reported { report(check.message) }
            reported = check.message
            let end = min(deadline, check.end ?? deadline)
            if outcome == .idle || BootTime.now() >= end { return outcome }
            let next = min(BootTime.now().advanced(by: interval), end)
            if stop.wait(until: next) { return outcome }
        }
    }

    /// The recorder's answer; `nil` if another program answers.
    private func query(_ stop: StopSignal) -> Result<RecorderActivity?, FetchError> {
        Result { () throws(FetchError) in
            let limits = FetchLimits(bytes: 1 << 20, timeout: .seconds(10))
            let address = url.appending(path: "api/status/recordings-active")
            let body = try Fetcher(userAgent: userAgent).get(address, limits: limits, until: stop)
            return RecorderActivity(json: body.bytes)
        }
    }
}

/// Evaluates the answers of a recorder.
struct IdleCheck {
    /// The exit status.
    enum Outcome: CInt {
        case idle = 0
        /// Recordings are in progress or about to begin.
        case busy = 1
        /// There is no answer, or not a recorder's.
        case unknown = 2
    }

    /// How long a recorder may be unreachable.
    private static let timeout = Duration.seconds(10)

    /// The latest state, for people.
    private(set) var message = ""
    /// When to give up, since the recorder does not answer; `nil` while it does.
    private(set) var end: BootTime?
    /// Whether its last answer said that it is about to end.
    private var isEnding = false
    /// Whether it was unreachable the last time; once may be due to the network.
    private var wasUnreachable = false

    /// Applies an answer; `nil` is one of another program.
    mutating func apply(
        _ answer: Result<RecorderActivity?, FetchError>,
        at now: BootTime
    ) -> Outcome {
        defer { wasUnreachable = answer.isUnreachable }
        switch answer {
        case .success(let answer?):
            (message, end) = (answer.message, nil)
            isEnding = answer.state == "draining" || answer.state == "stopping"
            return answer.isSafeToUpdate ? .idle : .busy
        case .failure(.http(status: 503, _)):
            (message, end) = ("the recorder is starting", nil)
            return .busy
        case .failure(.network) where isEnding && wasUnreachable:
            message = "the recorder has ended"
            return .idle
        case .failure(let error): return unreachable("\(error)", at: now)
        case .success(nil): return unreachable("the answer is not a recorder's", at: now)
        }
    }

    private mutating func unreachable(_ reason: String, at now: BootTime) -> Outcome {
        message = "the recorder cannot be reached: \(reason)"
        end = end ?? now.advanced(by: Self.timeout)
        return .unknown
    }
}

extension Result<RecorderActivity?, FetchError> {
    fileprivate var isUnreachable: Bool {
        if case .failure(.network) = self { true } else { false }
    }
}

/// The fields of `/api/status/recordings-active` that `wait-idle` reads.
struct RecorderActivity: Equatable {
    let isSafeToUpdate: Bool
    let state: String
    let message: String
}

extension RecorderActivity {
    /// `nil` if the answer is not a recorder's.
    init?(json bytes: [UInt8]) {
        guard let value = try? JSONReader.read(bytes),
            let isSafeToUpdate = value["safe_to_update"]?.boolean,
            let state = value["state"]?.string, let message = value["message"]?.string
        else { return nil }
        self.init(isSafeToUpdate: isSafeToUpdate, state: state, message: message)
    }
}
