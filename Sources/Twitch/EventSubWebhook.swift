import CCrypto
package import Fetch
package import HTTP
import JSON
package import Posix

/// A delivery of Twitch's EventSub whose signature is valid.
package enum EventSubMessage: Equatable, Sendable {
    /// Twitch verifies a new subscription; the challenge is the answer.
    case verification(challenge: String)
    case notification(EventSubNotification)
    /// Twitch ends a subscription, for a reason such as `authorization_revoked`.
    case revocation(type: String, reason: String)
}

/// An event of a broadcaster's stream.
package struct EventSubNotification: Equatable, Sendable {
    package enum Event: Equatable, Sendable {
        case online, offline
        /// A type that the recorder has not subscribed to.
        case other
    }

    package let id: String
    package let sentAt: WallTime
    package let event: Event
    package let broadcasterID: String?
    package let broadcasterLogin: String?
}

/// Why a delivery is refused.
package struct EventSubRefusal: Error, Equatable {
    package let status: Status
    package let reason: String

    static let header = EventSubRefusal(
        status: .forbidden,
        reason: "a header is missing or malformed"
    )
    static let signature = EventSubRefusal(status: .forbidden, reason: "the signature is wrong")
    static let time = EventSubRefusal(
        status: .forbidden,
        reason: "the message is too old, or from the future"
    )
    static let content = EventSubRefusal(status: .badRequest, reason: "the content is malformed")
}

/// Verifies and reads deliveries.
package struct EventSubWebhook: Sendable {
    /// Older messages may be replayed by someone who has intercepted them.
    static let window = Duration.seconds(600)

    private let secret: Secret

    package init(secret: Secret) {
        self.secret = secret
    }

    package func read(
        _ request: Request,
        at now: WallTime
    ) throws(EventSubRefusal) -> EventSubMessage {
        let id = try field("Id", of: request, maxBytes: 128)
        let timestamp = try field("Timestamp", of: request, maxBytes: 40)
        let kind = try field("Type", of: request, maxBytes: 64)
        let signature = try field("Signature", of: request, maxBytes: 71)
        try check(signature, of: Array((id + timestamp).utf8) + request.body)
        let sentAt = try time(timestamp, around: now)
        let content = try Content(request.body)
        switch kind {
        case "webhook_callback_verification":
            guard let challenge = content.challenge else { throw .content }
            return .verification(challenge: challenge)
        case "revocation":
            return .revocation(type: content.type, reason: content.status ?? "unknown")
        default:
            let event: EventSubNotification.Event =
                switch content.type {
                case "stream.online" where kind == "notification": .online
                case "stream.offline" where kind == "notification": .offline
                default: .other
                }
            return .notification(
                EventSubNotification(
                    id: id,
                    sentAt: sentAt,
                    event: event,
                    broadcasterID: content.broadcasterID,
                    broadcasterLogin: content.broadcasterLogin?.lowercased()
                )
            )
        }
    }

    /// The value of a header, which must be present once.
    private func field(
        _ name: String,
        of request: Request,
        maxBytes: Int
    ) throws(EventSubRefusal) -> String {
        let values = request.headers("Twitch-Eventsub-Message-\(name)")
        guard values.count == 1, (1...maxBytes).contains(values[0].utf8.count) else {
            throw .header
        }
        return values[0]
    }

    /// Compares in a time that depends only on the lengths, so that a signature cannot be guessed byte by byte.
    private func check(_ signature: String, of message: [UInt8]) throws(EventSubRefusal) {
        guard let digest = Self.hmacSHA256(message, key: secret.bytes) else { throw .signature }
        let digits = digest.map {
            String($0 >> 4, radix: 16) + String($0 & 0xF, radix: 16)
        }
        let expected = Array("sha256=\(digits.joined())".utf8)
        let given = Array(signature.utf8)
        guard given.count == expected.count,
            unsafe CRYPTO_memcmp(given, expected, expected.count) == 0
        else { throw .signature }
    }

    private func time(
        _ text: String,
        around now: WallTime
    ) throws(EventSubRefusal) -> WallTime {
        guard let time = WallTime(rfc3339: text) else { throw .header }
        let distance =
            time.nanoseconds < now.nanoseconds
            ? now.nanoseconds - time.nanoseconds : time.nanoseconds - now.nanoseconds
        guard distance <= Self.window.wholeNanoseconds else { throw .time }
        return time
    }

    /// HMAC-SHA256 with `HMAC(3)`: 32 bytes; `nil` if libcrypto has no memory or does not allow it.
    static func hmacSHA256(_ message: [UInt8], key: [UInt8]) -> [UInt8]? {
        var digest = [UInt8](repeating: 0, count: Int(SHA256_DIGEST_LENGTH))
        var length: CUnsignedInt = 0
        let result = unsafe HMAC(
            EVP_sha256(),
            key,
            CInt(key.count),
            message,
            message.count,
            &digest,
            &length
        )
        return unsafe result != nil && length == digest.count ? digest : nil
    }
}

/// The fields that the recorder reads of a delivery's content.
private struct Content {
    let challenge: String?
    /// Of the subscription.
    let type: String
    let status: String?
    let broadcasterID: String?
    let broadcasterLogin: String?

    /// - Throws: `.content` if a field is missing or has another type.
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
    private static func text(
        _ name: String,
        of object: JSONValue
    ) throws(EventSubRefusal) -> String? {
        switch object[name] {
        case nil, .null: return nil
        case .string(let text): return text
        case .boolean, .number, .array, .object: throw .content
        }
    }
}
