import Foundation
package import HTTP
package import Posix

/// Signs as Twitch does, with Python's HMAC.
package func eventSubSignature(_ secret: String, _ message: String) throws -> String {
    let script = """
        import hmac, sys
        print("sha256=" + hmac.new(sys.argv[1].encode(), sys.argv[2].encode(), "sha256").hexdigest())
        """
    return try programOutput(["python3", "-c", script, secret, message])
        .trimmingCharacters(in: .newlines)
}

/// A delivery as Twitch sends it.
package struct Delivery: Sendable {
    package var secret: String
    package var id: String
    package var timestamp: String
    package var kind: String
    package var body: String
    /// `nil` signs the delivery with `eventSubSignature`.
    package var signature: String?

    package init(
        secret: String = "s3cRe7",
        id: String = "e76c6bd4-55c9-4987-8304-da1588d8988b",
        timestamp: String = "2019-11-16T10:11:12.123Z",
        kind: String = "notification",
        body: String,
        signature: String? = nil
    ) {
        (self.secret, self.id, self.timestamp) = (secret, id, timestamp)
        (self.kind, self.body, self.signature) = (kind, body, signature)
    }

    package func request(without missing: String = "", twice: String = "") throws -> Request {
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
    package static func stream(
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
    package static let challenge = Delivery(
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
