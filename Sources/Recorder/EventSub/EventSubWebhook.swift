import Fetch
import HTTP
import Posix

/// Why a delivery is not taken.
struct EventSubRefusal: Error, Equatable {
    let status: Status
    let reason: String

    static let header = EventSubRefusal(
        status: .forbidden,
        reason: "a header is missing or malformed"
    )
    static let signature = EventSubRefusal(status: .forbidden, reason: "the signature is wrong")
    static let time = EventSubRefusal(
        status: .forbidden,
        reason: "the message is too old, or of the future"
    )
    static let content = EventSubRefusal(status: .badRequest, reason: "the content is malformed")
}

/// Tells Twitch's deliveries from all others, and reads them; pure.
struct EventSubWebhook: Sendable {
    /// Older ones may be replayed by somebody who overheard them.
    static let window = Duration.seconds(600)

    let secret: Secret

    func read(_ request: Request, at now: WallTime) throws(EventSubRefusal) -> EventSubMessage {
        let id = try field("Id", of: request, longest: 128)
        let timestamp = try field("Timestamp", of: request, longest: 40)
        let kind = try field("Type", of: request, longest: 64)
        let signature = try field("Signature", of: request, longest: 71)
        try check(signature, of: Array((id + timestamp).utf8) + request.body)
        let sentAt = try time(timestamp, around: now)
        let content = try EventSubContent(request.body)
        switch kind {
        case "webhook_callback_verification":
            guard let challenge = content.challenge else { throw .content }
            return .verification(challenge: challenge)
        case "revocation":
            return .revocation(type: content.type, reason: content.status ?? "unknown")
        default:
            return .notification(notification(content, id, sentAt, isKnown: kind == "notification"))
        }
    }

    private func notification(
        _ content: EventSubContent,
        _ id: String,
        _ sentAt: WallTime,
        isKnown: Bool
    ) -> EventSubNotification {
        let event: EventSubNotification.Event =
            switch content.type {
            case "stream.online" where isKnown: .online
            case "stream.offline" where isKnown: .offline
            default: .other
            }
        return EventSubNotification(
            id: id,
            sentAt: sentAt,
            event: event,
            broadcasterID: content.broadcasterID,
            broadcasterLogin: content.broadcasterLogin?.lowercased()
        )
    }

    /// The value of a header, which must be there once.
    private func field(
        _ name: String,
        of request: Request,
        longest: Int
    ) throws(EventSubRefusal) -> String {
        let values = request.headers("Twitch-Eventsub-Message-\(name)")
        guard values.count == 1, (1...longest).contains(values[0].utf8.count) else { throw .header }
        return values[0]
    }

    private func check(_ signature: String, of message: [UInt8]) throws(EventSubRefusal) {
        guard let digest = Digest.hmacSHA256(message, key: secret.bytes) else { throw .signature }
        let expected = Array("sha256=\(hexadecimal(digest))".utf8)
        guard Digest.areEqual(Array(signature.utf8), expected) else { throw .signature }
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
}

private func hexadecimal(_ bytes: [UInt8]) -> String {
    bytes.map { byte in
        String(byte >> 4, radix: 16) + String(byte & 0xF, radix: 16)
    }
    .joined()
}
