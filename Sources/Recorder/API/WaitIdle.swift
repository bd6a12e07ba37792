import Foundation
import Posix

/// `wait-idle URL`: waits until a recorder can be replaced without harm.
struct WaitIdle: Equatable, Sendable {
    /// The exit status: a script tells by it whether to go on.
    enum Outcome: CInt {
        case idle = 0
        /// Recordings were still under way when the time was over.
        case busy = 1
        /// The recorder does not answer, or not as a recorder.
        case unknown = 2
    }

    /// How long a recorder may be out of reach, such as while it starts.
    private static let patience = Duration.seconds(10)

    let url: URL
    let timeout: Duration
    let interval: Duration

    /// Asks until the recorder is idle or the time is over; `say` is given a line for people when there is news.
    func run(_ stop: StopSignal, say print: (String) -> Void) -> Outcome {
        let deadline = BootTime.now().advanced(by: timeout)
        var lost: BootTime?
        var isEnding = false
        var said = ""
        func say(_ line: String) {
            if line != said { print(line) }
            said = line
        }
        while true {
            let outcome: Outcome
            switch ask(stop) {
            case .success(let answer):
                (lost, isEnding) = (nil, answer.state == "draining" || answer.state == "stopping")
                say(answer.message)
                outcome = answer.safeToUpdate ? .idle : .busy
            case .failure(.http(status: 503)):
                say("the recorder is starting")
                (lost, outcome) = (nil, .busy)
            case .failure(let error):
                say("\(url.forLog): \(error)")
                // It said that it would end, and has.
                if isEnding, case .network = error { return .idle }
                lost = lost ?? .now()
                outcome = .unknown
            }
            if outcome == .idle { return .idle }
            let end = lost.map { min($0.advanced(by: Self.patience), deadline) } ?? deadline
            let next = min(BootTime.now().advanced(by: interval), end)
            if BootTime.now() >= end || stop.wait(until: next) { return outcome }
        }
    }

    private func ask(_ stop: StopSignal) -> Result<RecordingsActive, FetchError> {
        Result { () throws(FetchError) in
            let limits = Fetcher.Limits(bytes: 1 << 20, timeout: .seconds(10))
            let address = url.appending(path: "api/status/recordings-active")
            let body = try Fetcher().get(address, limits: limits, until: stop)
            guard let answer = decodedJSON(RecordingsActive.self, body.bytes) else {
                throw .network("the answer is not a recorder's")
            }
            return answer
        }
    }
}
