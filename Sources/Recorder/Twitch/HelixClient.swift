import Fetch
import FoundationEssentials
import Posix

/// Why Twitch's API did not do what it was asked.
enum HelixError: Error, Equatable, CustomStringConvertible {
    case cancelled
    /// An answer that another attempt would not change; with Twitch's own words.
    case refused(status: Int, message: String)
    /// An answer of 200 that is not of the documented form.
    case malformed(String)

    var description: String {
        switch self {
        case .cancelled: "cancelled"
        case .refused(let status, let message): "HTTP status \(status): \(message)"
        case .malformed(let what): "malformed answer to \(what)"
        }
    }
}

/// Speaks to Twitch's Helix API as an application; blocks, and tries again for as long as that may help.
struct HelixClient {
    private static let limits = FetchLimits(bytes: 1 << 20, timeout: .seconds(20))
    /// Of ids or logins in one request.
    static let mostInQuery = 100

    private let application: TwitchConfiguration.Application
    private let clientSecret: Secret
    private let log: Log
    private let limiter = LogLimiter()
    private var token: Secret?

    init(_ application: TwitchConfiguration.Application, clientSecret: Secret, _ log: Log) {
        (self.application, self.clientSecret, self.log) = (application, clientSecret, log)
    }

    /// Sends a request with a token that holds, and gives what Twitch answers with 2xx, or 409.
    mutating func call(_ call: HelixCall, until stop: StopSignal) throws(HelixError) -> HelixAnswer
    {
        var hasRefreshed = false
        while true {
            let token = try validToken(until: stop)
            let answer = try persist(call.request(application, token), call.name, until: stop)
            switch answer.status {
            case 200..<300, 409: return HelixAnswer(call: call, answer: answer)
            case 401 where !hasRefreshed:
                hasRefreshed = true
                self.token = nil
            default: throw .refused(status: answer.status, message: answer.message)
            }
        }
    }

    private mutating func validToken(until stop: StopSignal) throws(HelixError) -> Secret {
        if let token { return token }
        let request = APIRequest.token(application, clientSecret)
        let answer = try persist(request, "token", until: stop)
        let token = try answer.token()
        self.token = token
        return token
    }

    /// Sends a request until it is answered with something that another attempt would not change.
    private func persist(
        _ request: APIRequest,
        _ name: String,
        until stop: StopSignal
    ) throws(HelixError) -> APIAnswer {
        var pause = Backoff()
        while true {
            let wait: Duration
            do throws(FetchError) {
                let answer = try request.send(Self.limits, userAgent: userAgent, until: stop)
                guard answer.status == 429 || answer.status >= 500 else { return answer }
                wait = max(pause.next(), answer.pause(at: .now()) ?? .zero)
                report(name, "HTTP status \(answer.status)", wait)
            } catch {
                if error == .cancelled { throw .cancelled }
                wait = pause.next()
                report(name, error.description, wait)
            }
            if stop.wait(until: BootTime.now().advanced(by: wait)) { throw .cancelled }
        }
    }

    private func report(_ name: String, _ error: String, _ pause: Duration) {
        let fields: KeyValuePairs = ["request": name, "error": error, "retry_in": pause.text]
        log(.warn, "Twitch not reached", fields, limitedBy: limiter, condition: "\(name): \(error)")
    }
}
