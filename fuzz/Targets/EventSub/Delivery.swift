import FuzzSupport
import HTTP

@testable import Fetch
@testable import Twitch

/// A delivery of EventSub, without its signature.
struct Delivery {
    static let secret = Secret(Array("5ecret-of-the-subscription".utf8))

    var id: String
    var time: String
    var kind: String
    var content: [UInt8]

    /// `nil` unless the lines are of visible ASCII: others would not get through the HTTP parser as they are.
    init?(_ bytes: [UInt8]) {
        let parts = bytes.split(separator: 0x0A, maxSplits: 3, omittingEmptySubsequences: false)
        guard parts.count == 4,
            parts[..<3].allSatisfy({ $0.allSatisfy { (0x21...0x7E).contains($0) } })
        else { return nil }
        let lines = parts.map { String(decoding: $0, as: UTF8.self) }
        (id, time, kind, content) = (lines[0], lines[1], lines[2], Array(parts[3]))
    }

    var signature: String {
        let message = Array((id + time).utf8) + content
        let digest = EventSubWebhook.hmacSHA256(message, key: Self.secret.bytes) ?? []
        let digits = digest.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }
        return "sha256=\(digits.joined())"
    }

    /// The same, with a little more or less of what is signed.
    var changed: [Delivery] {
        [
            changed { $0.id += "0" }, changed { $0.id.removeFirst() },
            changed { $0.time = $0.time.replacing("Z", with: "0Z") },
            changed { $0.content.append(0x20) }, changed { $0.content.removeLast() },
            changed { $0.content[$0.content.count / 2] ^= 1 },
        ]
    }

    private func changed(_ change: (inout Delivery) -> Void) -> Delivery {
        var copy = self
        change(&copy)
        return copy
    }

    /// As it arrives.
    func request(_ signature: String) -> Request? {
        let fields = [("Id", id), ("Timestamp", time), ("Type", kind), ("Signature", signature)]
        let lines = fields.map { "Twitch-Eventsub-Message-\($0): \($1)\r\n" }.joined()
        let head = "POST /eventsub HTTP/1.1\r\nHost: a\r\n\(lines)"
        return FuzzSupport.request(
            in: Array("\(head)Content-Length: \(content.count)\r\n\r\n".utf8) + content
        )
    }
}
