import Fetch
import FoundationEssentials
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
        let wish = Subscription(
            type: type,
            condition: .init(broadcasterUserId: id),
            transport: .init(callback: callback.absoluteString, secret: secret.text)
        )
        request.headers["Content-Type"] = "application/json"
        request.method = "POST"
        request.body = encodedJSON(wish) ?? []
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

    /// As Twitch spells it.
    private struct Subscription: Encodable {
        struct Condition: Encodable {
            let broadcasterUserId: String
        }
        struct Transport: Encodable {
            var method = "webhook"
            let callback: String
            let secret: String
        }
        let type: String
        var version = "1"
        let condition: Condition
        let transport: Transport
    }
}

/// What Twitch answered to a call.
struct HelixAnswer {
    let call: HelixCall
    let answer: APIAnswer

    /// The list that the answer carries.
    func list<Item: Decodable>(of: Item.Type) throws(HelixError) -> [Item] {
        guard let list = decodedJSON(HelixList<Item>.self, answer.body) else {
            throw .malformed(call.name)
        }
        return list.data
    }
}

private struct HelixList<Item: Decodable>: Decodable {
    let data: [Item]
}
