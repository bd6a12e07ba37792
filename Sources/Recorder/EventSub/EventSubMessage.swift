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
struct EventSubContent: Decodable {
    struct Subscription: Decodable {
        let type: String
        let status: String?
    }

    struct Event: Decodable {
        let broadcasterUserId: String?
        let broadcasterUserLogin: String?
    }

    let challenge: String?
    let subscription: Subscription
    let event: Event?
}
