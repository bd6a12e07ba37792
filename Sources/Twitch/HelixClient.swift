package import Fetch
import FoundationEssentials
import JSON
package import Posix

/// Why a request to Twitch's API failed.
package enum HelixError: Error, Equatable, CustomStringConvertible {
    case cancelled
    /// An answer that another attempt would not change, with Twitch's message.
    case refused(status: Int, message: String)
    /// An answer of 200 that is not of the documented form.
    case malformed(String)

    package var description: String {
        switch self {
        case .cancelled: "cancelled"
        case .refused(let status, let message): "HTTP status \(status): \(message)"
        case .malformed(let what): "malformed answer to \(what)"
        }
    }
}

/// Sends requests to Twitch's Helix API as an application; blocks, and retries while that may help.
package struct HelixClient: Sendable {
    private static let limits = FetchLimits(bytes: 1 << 20, timeout: .seconds(20))
    /// Maximum ids or logins in one request.
    static let maxIDs = 100

    private let application: TwitchSettings.Application
    private let clientSecret: Secret
    private let userAgent: String
    private let log: Log
    private let limiter = LogLimiter()
    private var token: Secret?

    package init(
        _ application: TwitchSettings.Application,
        clientSecret: Secret,
        userAgent: String,
        _ log: Log
    ) {
        (self.application, self.clientSecret) = (application, clientSecret)
        (self.userAgent, self.log) = (userAgent, log)
    }

    /// Sends a request with a valid token; returns an answer of 2xx or 409.
    mutating func call(_ call: HelixCall, until stop: StopSignal) throws(HelixError) -> HelixAnswer
    {
        var hasRefreshed = false
        while true {
            let token = try validToken(until: stop)
            let request = call.request(application, token)
            let answer = try sendWithRetries(request, call.name, until: stop)
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
        let answer = try sendWithRetries(request, "token", until: stop)
        let token = try answer.token()
        self.token = token
        return token
    }

    /// Sends a request until the answer is one that another attempt would not change.
    private func sendWithRetries(
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

/// A request to the Helix API.
enum HelixCall {
    /// The ids of at most `HelixClient.maxIDs` logins.
    case users(logins: [String])
    /// Which of at most `HelixClient.maxIDs` broadcasters are live.
    case streams(broadcasterIDs: [String])
    /// Deliveries when a broadcaster's streams begin or end.
    case subscribe(type: String, broadcasterID: String, callback: URL, secret: Secret)

    /// For the log.
    var name: String {
        switch self {
        case .users: "users"
        case .streams: "streams"
        case .subscribe(let type, let id, _, _): "subscription \(type) \(id)"
        }
    }

    func request(_ application: TwitchSettings.Application, _ token: Secret) -> APIRequest {
        var request = APIRequest(url: url(at: application.api))
        request.headers = [
            "Authorization": "Bearer \(token.text)", "Client-Id": application.clientID,
        ]
        guard case .subscribe(let type, let id, let callback, let secret) = self else {
            return request
        }
        let subscription: JSONValue = [
            "type": .string(type), "version": "1",
            "condition": ["broadcaster_user_id": .string(id)],
            "transport": [
                "method": "webhook", "callback": .string(callback.absoluteString),
                "secret": .string(secret.text),
            ],
        ]
        request.headers["Content-Type"] = "application/json"
        request.method = "POST"
        request.body = JSONWriter.write(subscription, .compact)
        return request
    }

    private func url(at base: URL) -> URL {
        switch self {
        case .users(let logins): query("users", "login", logins, at: base)
        case .streams(let ids):
            query("streams", "user_id", ids, at: base)
                .appending(queryItems: [
                    URLQueryItem(name: "first", value: "\(HelixClient.maxIDs)")
                ])
        case .subscribe: base.appending(path: "eventsub/subscriptions")
        }
    }

    private func query(_ path: String, _ name: String, _ values: [String], at base: URL) -> URL {
        base.appending(path: path)
            .appending(queryItems: values.map { URLQueryItem(name: name, value: $0) })
    }
}

/// Twitch's answer to a call.
struct HelixAnswer {
    let call: HelixCall
    let answer: APIAnswer

    /// The items of the list in the answer; `read` returns `nil` for one that is not of the documented form.
    func list<Item>(_ read: (JSONValue) -> Item?) throws(HelixError) -> [Item] {
        guard let items = answer.json?["data"]?.array else { throw .malformed(call.name) }
        let list = items.compactMap(read)
        guard list.count == items.count else { throw .malformed(call.name) }
        return list
    }
}

extension APIRequest {
    /// Requests a token with client credentials (RFC 6749 §4.4), all of them in the content, as Twitch requires.
    static func token(
        _ application: TwitchSettings.Application,
        _ secret: Secret
    ) -> APIRequest {
        var form = URLComponents()
        form.queryItems = [
            URLQueryItem(name: "client_id", value: application.clientID),
            URLQueryItem(name: "client_secret", value: secret.text),
            URLQueryItem(name: "grant_type", value: "client_credentials"),
        ]
        // In a form a plus means a space.
        let text = (form.percentEncodedQuery ?? "").replacing("+", with: "%2B")
        var request = APIRequest(url: application.auth)
        request.method = "POST"
        request.headers = ["Content-Type": "application/x-www-form-urlencoded"]
        request.body = Array(text.utf8)
        return request
    }
}

extension APIAnswer {
    /// The content; `nil` if it is not JSON.
    fileprivate var json: JSONValue? { try? JSONReader.read(body) }

    /// The token in the answer, which must be visible ASCII: it goes into a header field.
    func token() throws(HelixError) -> Secret {
        guard status == 200 else { throw .refused(status: status, message: "token: \(message)") }
        guard let text = json?["access_token"]?.string, !text.isEmpty,
            text.utf8.allSatisfy({ (0x21...0x7E).contains($0) })
        else { throw .malformed("token") }
        return Secret(Array(text.utf8))
    }

    /// The server's error message, without control characters, and shortened.
    var message: String {
        let text = json?["message"]?.string ?? "no reason given"
        return String(
            text.unicodeScalars.filter { $0.value >= 0x20 }.prefix(200).map(Character.init)
        )
    }
}
