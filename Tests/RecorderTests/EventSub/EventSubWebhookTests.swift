import Foundation
import HTTP
import Posix
import Testing

@testable import Fetch
@testable import Recorder

/// Signs as Twitch does, by Python's own HMAC.
func eventSubSignature(_ secret: String, _ message: String) throws -> String {
    let script = """
        import hmac, sys
        print("sha256=" + hmac.new(sys.argv[1].encode(), sys.argv[2].encode(), "sha256").hexdigest())
        """
    return try filesOutput(["python3", "-c", script, secret, message])
        .trimmingCharacters(in: .newlines)
}

/// A delivery as Twitch sends it.
struct Delivery {
    var secret = "s3cRe7"
    var id = "e76c6bd4-55c9-4987-8304-da1588d8988b"
    var timestamp = "2019-11-16T10:11:12.123Z"
    var kind = "notification"
    var body: String
    /// Signed by the oracle where none is given.
    var signature: String?

    func request(without missing: String = "", twice: String = "") throws -> Request {
        let signature = try signature ?? eventSubSignature(secret, id + timestamp + body)
        var fields = [
            ("Id", id), ("Timestamp", timestamp), ("Type", kind), ("Signature", signature),
        ]
        fields += fields.filter { $0.0 == twice }
        fields.removeAll { $0.0 == missing }
        let lines = fields.map { "Twitch-Eventsub-Message-\($0.0): \($0.1)\r\n" }.joined()
        let head = "POST /eventsub HTTP/1.1\r\nHost: a\r\n\(lines)"
        let whole = "\(head)Content-Length: \(body.utf8.count)\r\n\r\n\(body)"
        var parser = RequestParser(contentLimit: 1 << 20)
        guard case .request(let request, _) = parser.parse(Array(whole.utf8).span) else {
            throw CancellationError()
        }
        return request
    }

    /// A notification of a stream's beginning or end.
    static func stream(
        _ event: String,
        _ broadcaster: String = "1337",
        id: String,
        at time: WallTime = .now(),
        secret: String = "s3cRe7"
    ) -> Delivery {
        let body = """
            {"subscription":{"id":"f1c2a387-161a-49f9-a165-0f21d7a4e1c4","status":"enabled","type":"\(event)",\
            "version":"1","condition":{"broadcaster_user_id":"\(broadcaster)"}},"event":{"id":"9001",\
            "broadcaster_user_id":"\(broadcaster)","broadcaster_user_login":"Cool_User"}}
            """
        return Delivery(secret: secret, id: id, timestamp: time.iso8601, body: body)
    }

    /// The challenge of Twitch's documentation; its signature was made by another project's tests.
    static let challenge = Delivery(
        kind: "webhook_callback_verification",
        body: """
            {"challenge":"pogchamp-kappa-360noscope-vohiyo","subscription":{"id":"f1c2a387-161a-49f9-a165-0f21d7a4e1c4",\
            "status":"webhook_callback_verification_pending","type":"channel.follow","version":"1",\
            "condition":{"broadcaster_user_id":"12826"},"transport":{"method":"webhook",\
            "callback":"https://example.com/webhooks/callback"},"created_at":"2019-11-16T10:11:12.123Z"}}
            """,
        signature: "sha256=7e5a96480c29cdf834b371e7a5b049638cba6e425ea51b9b2a9fabf69bc5d227"
    )
}

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

    @Test("the example of Twitch's documentation, with the signature that others have for it")
    func example() throws {
        let expected = EventSubMessage.verification(challenge: "pogchamp-kappa-360noscope-vohiyo")
        #expect(read(try Delivery.challenge.request()) == .success(expected))
    }

    @Test("HMAC-SHA256 as RFC 4231 has it, and SHA-1 as FIPS 180")
    func digests() {
        let hmac = Digest.hmacSHA256(
            Array("what do ya want for nothing?".utf8),
            key: Array("Jefe".utf8)
        )
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        #expect(hmac.map { $0.map { String(format: "%02x", $0) }.joined() } == expected)
        let sha1 = Digest.sha1(Array("abc".utf8)).map { String(format: "%02x", $0) }.joined()
        #expect(sha1 == "a9993e364706816aba3e25717850c26c9cd0d89d")
        #expect(Digest.hmacSHA256([], key: [])?.count == 32)
        #expect(Digest.areEqual([], []) && Digest.areEqual([1, 2], [1, 2]))
        #expect(!Digest.areEqual([1, 2], [1, 3]) && !Digest.areEqual([1, 2], [1, 2, 3]))
    }

    @Test("notifications are taken with the signatures of Python's hmac")
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

    @Test("a revocation is known, and what kinds may still come")
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
        "what was not signed so is refused",
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
        "a header that is missing or there twice is refused",
        arguments: ["Id", "Timestamp", "Type", "Signature"]
    )
    func headers(_ name: String) throws {
        #expect(read(try Delivery.challenge.request(without: name)) == .failure(.header))
        #expect(read(try Delivery.challenge.request(twice: name)) == .failure(.header))
    }

    @Test(
        "ten minutes either way are allowed, and no more",
        arguments: [
            (0, true), (600, true), (-600, true), (601, false), (-601, false), (86_400, false),
        ]
    )
    func window(_ seconds: Int, _ isTaken: Bool) throws {
        let result = read(try Delivery.challenge.request(), secondsLater: seconds)
        #expect((result == .failure(.time)) == !isTaken)
    }

    @Test(
        "signed content that is not what it should be is refused",
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
        "times are of RFC 3339, in UTC",
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
