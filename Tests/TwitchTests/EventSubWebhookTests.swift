import Foundation
import HTTP
import Posix
import TestSupport
import Testing

@testable import Fetch
@testable import Twitch

@Suite("EventSub deliveries")
struct EventSubWebhookTests {
    private let webhook = EventSubWebhook(secret: Secret(Array("s3cRe7".utf8)))
    private let then = WallTime(rfc3339: "2019-11-16T10:11:12.123Z") ?? .now()

    private func read(
        _ request: Request,
        secondsLater: Int = 0
    ) -> Result<EventSubMessage, EventSubRefusal> {
        let shift = UInt64(secondsLater.magnitude) * 1_000_000_000
        let now = secondsLater < 0 ? then.nanoseconds - shift : then.nanoseconds + shift
        return Result { () throws(EventSubRefusal) in
            try webhook.read(request, at: WallTime(nanoseconds: now))
        }
    }

    @Test("the example of Twitch's documentation, with the signature of another project's tests")
    func example() throws {
        let expected = EventSubMessage.verification(challenge: "pogchamp-kappa-360noscope-vohiyo")
        #expect(read(try Delivery.challenge.request()) == .success(expected))
    }

    @Test("HMAC-SHA256 gives the digest of RFC 4231")
    func digest() {
        let hmac = EventSubWebhook.hmacSHA256(
            Array("what do ya want for nothing?".utf8),
            key: Array("Jefe".utf8)
        )
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        #expect(hmac.map { $0.map { String(format: "%02x", $0) }.joined() } == expected)
        #expect(EventSubWebhook.hmacSHA256([], key: [])?.count == 32)
    }

    @Test("notifications are accepted with the signatures of Python's hmac")
    func notification() throws {
        let request = try Delivery.stream("stream.online", id: "m1", at: then).request()
        let expected = EventSubNotification(
            id: "m1",
            sentAt: then,
            event: .online,
            broadcasterID: "1337",
            broadcasterLogin: "cool_user"
        )
        #expect(read(request) == .success(.notification(expected)))
        let bodies = [
            "{\"subscription\":{\"type\":\"x\"}}", "{\"subscription\":{\"type\":\"€\\u0000\"}}\n",
        ]
        for body in bodies {
            let delivery = Delivery(timestamp: then.iso8601, body: body)
            guard case .success(.notification(let other)) = read(try delivery.request()) else {
                Issue.record("\(body) refused")
                continue
            }
            #expect(other.event == .other)
        }
    }

    @Test("revocations are recognized, and unknown kinds are accepted")
    func kinds() throws {
        let body = #"{"subscription":{"type":"stream.online","status":"user_removed"}}"#
        let revoked = try Delivery(kind: "revocation", body: body).request()
        let expected = EventSubMessage.revocation(type: "stream.online", reason: "user_removed")
        #expect(read(revoked) == .success(expected))
        let unknown = try Delivery(kind: "celebration", body: body).request()
        guard case .success(.notification(let notification)) = read(unknown) else {
            Issue.record("refused")
            return
        }
        #expect(notification.event == .other, "stream.online, but not said by a notification")
    }

    @Test(
        "a delivery with another signature or another signed content is refused",
        arguments: [
            { $0.body += " " }, { $0.id += "0" }, { $0.timestamp = "2019-11-16T10:11:12.124Z" },
            { $0.signature = "sha256=" }, { $0.signature = $0.signature?.uppercased() },
            { $0.signature = $0.signature.map { String($0.dropFirst(7)) } },
            { $0.signature = $0.signature.map { String($0.dropLast()) } },
            { $0.signature = $0.signature.map { $0 + "0" } },
            { $0.signature = $0.signature?.replacing("sha256", with: "sha1") },
        ] as [@Sendable (inout Delivery) -> Void]
    )
    func forged(_ change: @Sendable (inout Delivery) -> Void) throws {
        var delivery = Delivery.challenge
        change(&delivery)
        guard case .failure(let refusal) = read(try delivery.request()) else {
            Issue.record("taken")
            return
        }
        #expect(refusal.status == .forbidden)
    }

    @Test("another secret is refused")
    func otherSecret() throws {
        let other = try Delivery.stream("stream.online", id: "m", at: then, secret: "other")
            .request()
        #expect(read(other) == .failure(.signature))
    }

    @Test(
        "a header that is missing or repeated is refused",
        arguments: ["Id", "Timestamp", "Type", "Signature"]
    )
    func headers(_ name: String) throws {
        #expect(read(try Delivery.challenge.request(without: name)) == .failure(.header))
        #expect(read(try Delivery.challenge.request(twice: name)) == .failure(.header))
    }

    @Test(
        "a time more than ten minutes away is refused",
        arguments: [
            (0, true), (600, true), (-600, true), (601, false), (-601, false), (86_400, false),
        ]
    )
    func window(_ seconds: Int, _ isTaken: Bool) throws {
        let result = read(try Delivery.challenge.request(), secondsLater: seconds)
        #expect((result == .failure(.time)) == !isTaken)
    }

    @Test(
        "signed content that is malformed is refused",
        arguments: [
            "", "[]", "null", "{}", "{\"subscription\":{}}", "{\"subscription\":{\"type\":1}}",
            "{\"subscription\":{\"type\":\"a\"},\"event\":[]}",
            String(repeating: "[", count: 60_000),
            "{\"subscription\":{\"type\":\"a\"},\"event\":{\"broadcaster_user_id\":1}}",
        ]
    )
    func malformed(_ body: String) throws {
        #expect(
            read(try Delivery(timestamp: then.iso8601, body: body).request()) == .failure(.content)
        )
    }

    @Test("a verification without a challenge is refused")
    func noChallenge() throws {
        let body = #"{"subscription":{"type":"stream.online"}}"#
        let request = try Delivery(kind: "webhook_callback_verification", body: body).request()
        #expect(read(request) == .failure(.content))
    }

    @Test(
        "times are read as RFC 3339 in UTC",
        arguments: [
            ("1970-01-01T00:00:00Z", 0), ("1970-01-01T00:00:01.5Z", 1_500_000_000),
            ("2019-11-16T10:11:12.123Z", 1_573_899_072_123_000_000),
            ("2022-11-16T10:11:12.464757833Z", 1_668_593_472_464_757_833),
            ("2024-02-29T00:00:00Z", 1_709_164_800_000_000_000), ("2023-02-29T00:00:00Z", nil),
            ("2019-11-16T10:11:12", nil), ("2019-11-16T10:11:12+00:00", nil),
            ("2019-11-16 10:11:12Z", nil), ("2019-11-16T10:11:12.Z", nil),
            ("2019-11-16T10:11:12.1234567890Z", nil), ("2019-11-16T10:11:12.1.2Z", nil),
            ("2019-11-16T25:11:12Z", nil), ("2019-13-16T10:11:12Z", nil),
            ("1969-12-31T23:59:59Z", nil), ("2553-12-31T23:59:59Z", 18_429_292_799_000_000_000),
            ("2555-01-01T00:00:00Z", nil), ("9999-12-31T23:59:59Z", nil),
            ("2147483647-01-01T00:00:00Z", nil),
            ("Z", nil), ("", nil), ("٢٠١٩-11-16T10:11:12Z", nil), ("-019-11-16T10:11:12Z", nil),
        ] as [(String, UInt64?)]
    )
    func times(_ text: String, _ nanoseconds: UInt64?) {
        #expect(WallTime(rfc3339: text)?.nanoseconds == nanoseconds)
    }
}
