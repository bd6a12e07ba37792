import Fetch
import JSON
import Posix

/// What `/api/status/recordings-active` says, as far as `wait-idle` reads it.
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

/// What the answers of a recorder come to; pure.
struct IdleWatch {
    /// The exit status: a script tells by it whether to go on.
    enum Outcome: CInt {
        case idle = 0
        /// Recordings are under way, or about to begin.
        case busy = 1
        /// The recorder does not answer, or not as a recorder.
        case unknown = 2
    }

    /// How long a recorder may be out of reach.
    private static let patience = Duration.seconds(10)

    /// The latest, for people.
    private(set) var news = ""
    /// When there is no hope left that the recorder answers; `nil` as long as it does.
    private(set) var end: BootTime?
    /// Whether it said that it comes to its end.
    private var isEnding = false
    /// Whether it was out of reach the last time; once may be the network.
    private var wasGone = false

    /// Takes an answer; `nil` is one that no recorder gives.
    mutating func take(
        _ answer: Result<RecorderActivity?, FetchError>,
        at now: BootTime
    ) -> Outcome {
        defer { wasGone = answer.isOutOfReach }
        switch answer {
        case .success(let answer?):
            (news, end) = (answer.message, nil)
            isEnding = answer.state == "draining" || answer.state == "stopping"
            return answer.isSafeToUpdate ? .idle : .busy
        case .failure(.http(status: 503)):
            (news, end) = ("the recorder is starting", nil)
            return .busy
        case .failure(.network) where isEnding && wasGone:
            news = "the recorder has ended"
            return .idle
        case .failure(let error): return lost("\(error)", at: now)
        case .success(nil): return lost("the answer is not a recorder's", at: now)
        }
    }

    private mutating func lost(_ why: String, at now: BootTime) -> Outcome {
        news = "the recorder cannot be asked: \(why)"
        end = end ?? now.advanced(by: Self.patience)
        return .unknown
    }
}

extension Result<RecorderActivity?, FetchError> {
    fileprivate var isOutOfReach: Bool {
        if case .failure(.network) = self { true } else { false }
    }
}
