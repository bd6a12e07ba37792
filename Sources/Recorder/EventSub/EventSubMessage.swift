import JSON
import Posix

/// A delivery of Twitch's EventSub that is known to be Twitch's.
enum EventSubMessage: Equatable, Sendable {
    /// To be answered with the challenge: Twitch asks whether we want the subscription.
    case verification(challenge: String)
    case notification(EventSubNotification)
    /// Twitch ends a subscription, for a reason such as `authorization_revoked`.
    case revocation(type: String, reason: String)
}

/// Something that happened to a broadcaster's stream.
struct EventSubNotification: Equatable, Sendable {
    enum Event: Equatable, Sendable {
        case online, offline
        /// A type that the recorder has not subscribed to.
        case other
    }

    let id: String
    let sentAt: WallTime
    let event: Event
    let broadcasterID: String?
    let broadcasterLogin: String?
}

/// The content of a delivery, as far as the recorder reads it.
struct EventSubContent {
    let challenge: String?
    /// Of the subscription.
    let type: String
    let status: String?
    let broadcasterID: String?
    let broadcasterLogin: String?

    /// Reads the content; throws `EventSubRefusal.content` where a field is missing or of another type.
    init(_ bytes: [UInt8]) throws(EventSubRefusal) {
        guard let content = try? JSONReader.read(bytes), let subscription = content["subscription"],
            let type = subscription["type"]?.string
        else { throw .content }
        self.type = type
        status = try Self.text("status", of: subscription)
        challenge = try Self.text("challenge", of: content)
        let event = content["event"] ?? .null
        switch event {
        case .object, .null: break
        case .boolean, .number, .string, .array: throw .content
        }
        broadcasterID = try Self.text("broadcaster_user_id", of: event)
        broadcasterLogin = try Self.text("broadcaster_user_login", of: event)
    }

    /// A string that may be missing or null.
    private static func text(_ name: String, of object: JSONValue) throws(EventSubRefusal)
        -> String?
    {
        switch object[name] {
        case nil, .null: return nil
        case .string(let text): return text
        case .boolean, .number, .array, .object: throw .content
        }
    }
}
