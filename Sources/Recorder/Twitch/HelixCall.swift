import Fetch
import FoundationEssentials
import JSON
import Posix

/// A request that the recorder makes of the Helix API.
enum HelixCall {
    /// The ids of at most 100 logins.
    case users(logins: [String])
    /// Which of at most 100 broadcasters are live.
    case streams(broadcasterIDs: [String])
    /// To be told of the beginning or the end of a broadcaster's streams.
    case subscribe(type: String, broadcasterID: String, callback: URL, secret: Secret)

    /// For the log.
    var name: String {
        switch self {
        case .users: "users"
        case .streams: "streams"
        case .subscribe(let type, let id, _, _): "subscription \(type) \(id)"
        }
    }

    func request(_ application: TwitchConfiguration.Application, _ token: Secret) -> APIRequest {
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
                    URLQueryItem(name: "first", value: "\(HelixClient.mostInQuery)")
                ])
        case .subscribe: base.appending(path: "eventsub/subscriptions")
        }
    }

    private func query(_ path: String, _ name: String, _ values: [String], at base: URL) -> URL {
        base.appending(path: path)
            .appending(queryItems: values.map { URLQueryItem(name: name, value: $0) })
    }
}

/// What Twitch answered to a call.
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
