import Posix
import Synchronization

/// Switches the streams whose broadcasters go on and off the air.
final class EventSubSwitchboard: Sendable {
    private let roster: Roster
    private let metrics: EventSubMetrics
    private let log: Log
    /// Whether a message's id is new; asks the catalogue, and blocks.
    private let isNew: @Sendable (String) throws(CatalogueError) -> Bool
    /// When the latest message was sent that switched a stream, by the stream's name.
    private let latest = Mutex<[String: WallTime]>([:])

    init(
        _ roster: Roster,
        _ metrics: EventSubMetrics,
        _ log: Log,
        isNew: @escaping @Sendable (String) throws(CatalogueError) -> Bool
    ) {
        (self.roster, self.metrics, self.log) = (roster, metrics, log)
        self.isNew = isNew
    }

    /// Why such an event cannot be acted upon now; an end is heeded while draining, too.
    func refusal(of event: EventSubNotification.Event) -> Refusal? {
        let refusal = roster.refusal
        return event == .offline && refusal == .draining ? nil : refusal
    }

    /// Acts upon a notification, unless it was delivered before, or is older than one that was acted upon.
    func take(_ notification: EventSubNotification) {
        let type = EventSubMetrics.MessageType(notification.event)
        guard isFirst(notification) else { return metrics.count(type, .duplicate) }
        let workers = roster.workers.filter {
            $0.stream.broadcaster?.matches(notification) ?? false
        }
        guard !workers.isEmpty else { return metrics.count(type, .ignored) }
        var outcome = EventSubMetrics.Outcome.stale
        for worker in workers where isLatest(notification, of: worker.stream.name) {
            outcome = .accepted
            act(on: notification.event, worker)
        }
        metrics.count(type, outcome)
    }

    /// A catalogue that fails costs no recording: the message then counts as new.
    private func isFirst(_ notification: EventSubNotification) -> Bool {
        do throws(CatalogueError) {
            return try isNew(notification.id)
        } catch {
            log(.error, "EventSub message not in the catalogue", ["error": "\(error)"])
            return true
        }
    }

    /// Twitch promises no order.
    private func isLatest(_ notification: EventSubNotification, of stream: String) -> Bool {
        latest.withLock { latest in
            let sentAt = notification.sentAt
            if let known = latest[stream], known.nanoseconds >= sentAt.nanoseconds { return false }
            latest[stream] = sentAt
            return true
        }
    }

    private func act(on event: EventSubNotification.Event, _ worker: StreamWorker) {
        let name = worker.stream.name
        switch event {
        case .online: report(name, "online", roster.start(worker, insists: true))
        case .offline: report(name, "offline", roster.stop(worker))
        case .other: break
        }
    }

    private func report(_ stream: String, _ event: String, _ switching: Switching) {
        let fields: KeyValuePairs = [
            "stream": stream, "event": event, "outcome": "\(switching)",
        ]
        log(.info, "Twitch says", fields)
    }
}
