import Dispatch
import HTTP
import Posix
import Synchronization

/// Takes Twitch's deliveries: acknowledges them at once, and switches streams on a thread of its own.
final class EventSubService: Sendable {
    private struct Queue {
        var waiting: [EventSubNotification] = []
        var isClosed = false
    }

    /// Beyond it Twitch is asked to come again; two hundred channels do not do that much in an hour.
    private static let longestQueue = 1000

    private let webhook: EventSubWebhook
    private let switchboard: EventSubSwitchboard
    private let metrics: EventSubMetrics
    private let log: Log
    private let queue = Mutex(Queue())
    /// Counts what waits, and the end.
    private let arrived = DispatchSemaphore(value: 0)
    private let limiter = LogLimiter()

    init(
        _ webhook: EventSubWebhook,
        _ switchboard: EventSubSwitchboard,
        _ metrics: EventSubMetrics,
        _ log: Log
    ) {
        (self.webhook, self.switchboard) = (webhook, switchboard)
        (self.metrics, self.log) = (metrics, log)
    }

    /// Answers a request for `/eventsub`; waits for nothing.
    func answer(_ request: Request) -> Response {
        guard request.method == .post else { return .allowing([.post], for: request.method) }
        do throws(EventSubRefusal) {
            switch try webhook.read(request, at: .now()) {
            case .verification(let challenge): return confirm(challenge)
            case .revocation(let type, let reason): return note(revocationOf: type, reason)
            case .notification(let notification): return take(notification)
            }
        } catch {
            return refuse(error, from: request.peer)
        }
    }

    /// Works off what was acknowledged, until `stop`.
    func run() {
        while let notification = next() { switchboard.take(notification) }
    }

    /// Takes no more; `run` ends with what was acknowledged.
    func stop() {
        queue.withLock { $0.isClosed = true }
        arrived.signal()
    }

    private func next() -> EventSubNotification? {
        arrived.wait()
        return queue.withLock { $0.waiting.isEmpty ? nil : $0.waiting.removeFirst() }
    }
}

extension EventSubService {
    /// Byte for byte, as Twitch wants it.
    private func confirm(_ challenge: String) -> Response {
        metrics.count(.verification, .accepted)
        return Response(contentType: "text/plain", body: Array(challenge.utf8))
    }

    private func note(revocationOf type: String, _ reason: String) -> Response {
        metrics.count(.revocation, .accepted)
        log(.warn, "Twitch revoked a subscription", ["type": type, "reason": reason])
        return Response(.noContent)
    }

    private func take(_ notification: EventSubNotification) -> Response {
        let type = EventSubMetrics.MessageType(notification.event)
        if type == .other {
            metrics.count(.other, .ignored)
            return Response(.noContent)
        }
        if let refusal = switchboard.refusal(of: notification.event) {
            metrics.count(type, .unavailable)
            return .refusing(refusal)
        }
        guard enqueue(notification) else {
            metrics.count(type, .unavailable)
            return .unavailable("busy", retryAfter: 10)
        }
        return Response(.noContent)
    }

    private func enqueue(_ notification: EventSubNotification) -> Bool {
        let hasRoom = queue.withLock { queue in
            guard !queue.isClosed, queue.waiting.count < Self.longestQueue else { return false }
            queue.waiting.append(notification)
            return true
        }
        if hasRoom { arrived.signal() }
        return hasRoom
    }

    /// Anybody can send what is refused, so it is logged at a bounded rate.
    private func refuse(_ refusal: EventSubRefusal, from peer: String) -> Response {
        metrics.count(.unverified, .refused)
        let fields: KeyValuePairs = ["reason": refusal.reason, "peer": peer]
        log(
            .warn,
            "EventSub message refused",
            fields,
            limitedBy: limiter,
            condition: refusal.reason
        )
        return .problem(refusal.status, refusal.reason)
    }
}
