import Catalogue
import Dispatch
import Fetch
import HTTP
import Posix
import StreamVaultTelemetry
import Synchronization
import Twitch

/// Switches streams as Twitch reports their beginning and end.
///
/// The API's thread acknowledges deliveries at once and queues them; a thread of the service's own works the queue off,
/// since it asks the catalogue. Another one makes the subscriptions.
final class TwitchService: Sendable {
    private struct Queue {
        var waiting: [EventSubNotification] = []
        var isClosed = false
    }

    /// Maximum deliveries that wait, more than two hundred channels cause in an hour; Twitch repeats those beyond it.
    private static let maxWaiting = 1000

    private let webhook: EventSubWebhook
    /// `nil` if another program makes the subscriptions.
    private let subscriptions: Subscriptions?
    private let registry: StreamRegistry
    private let catalogue: Catalogue
    private let metrics: EventSubMetrics
    private let log: Log
    private let limiter = LogLimiter()
    private let cancellation: StopSignal
    private let queue = Mutex(Queue())
    /// Counts queued notifications, and the end.
    private let arrived = DispatchSemaphore(value: 0)
    /// When the latest message was sent that switched a stream, by the stream's name.
    private let latest = Mutex<[String: WallTime]>([:])

    init(
        _ webhook: EventSubWebhook,
        _ subscriptions: Subscriptions?,
        _ registry: StreamRegistry,
        _ catalogue: Catalogue,
        _ metrics: EventSubMetrics,
        _ log: Log
    ) throws(SystemError) {
        (self.webhook, self.subscriptions) = (webhook, subscriptions)
        (self.registry, self.catalogue) = (registry, catalogue)
        (self.metrics, self.log) = (metrics, log)
        cancellation = try StopSignal()
    }

    // MARK: Deliveries

    /// Answers a request for `/eventsub` without waiting.
    func answer(_ request: Request) -> Response {
        guard request.method == .post else { return .allowing([.post], for: request.method) }
        do throws(EventSubRefusal) {
            switch try webhook.read(request, at: .now()) {
            case .verification(let challenge):
                metrics.count(.verification, .accepted)
                return Response(contentType: "text/plain", body: Array(challenge.utf8))
            case .revocation(let type, let reason):
                metrics.count(.revocation, .accepted)
                log(.warn, "Twitch revoked a subscription", ["type": type, "reason": reason])
                return Response(.noContent)
            case .notification(let notification): return enqueue(notification)
            }
        } catch {
            metrics.count(.unverified, .refused)
            // Anyone can send a request that is refused, so the lines are limited.
            log(
                .warn,
                "EventSub message refused",
                ["reason": error.reason, "peer": request.peer],
                limitedBy: limiter,
                condition: error.reason
            )
            return .problem(error.status, error.reason)
        }
    }

    private func enqueue(_ notification: EventSubNotification) -> Response {
        let type = EventSubMetrics.MessageType(notification.event)
        if type == .other {
            metrics.count(.other, .ignored)
            return Response(.noContent)
        }
        // While draining, an end is accepted too.
        if let refusal = registry.refusal, notification.event != .offline || refusal != .draining {
            metrics.count(type, .unavailable)
            return .refusing(refusal)
        }
        let isQueued = queue.withLock { queue in
            guard !queue.isClosed, queue.waiting.count < Self.maxWaiting else { return false }
            queue.waiting.append(notification)
            return true
        }
        guard isQueued else {
            metrics.count(type, .unavailable)
            return .unavailable("busy", retryAfter: 10)
        }
        arrived.signal()
        return Response(.noContent)
    }

    // MARK: Threads

    /// Applies acknowledged notifications, until `stop`; those acknowledged before are applied.
    func applyNotifications() {
        while true {
            arrived.wait()
            let next = queue.withLock { $0.waiting.isEmpty ? nil : $0.waiting.removeFirst() }
            guard let next else { return }
            apply(next)
        }
    }

    /// Makes the subscriptions again and again, until `stop`; starts the streams that are live already.
    func keepSubscriptions() {
        guard var subscriptions else { return }
        while !cancellation.isRequested {
            let pass = subscriptions.pass(until: cancellation)
            for worker in registry.workers {
                guard let broadcaster = worker.stream.broadcaster, pass.live.contains(broadcaster)
                else { continue }
                log(.info, "Stream is live already", ["stream": worker.stream.name])
                _ = registry.start(worker, insists: true)
            }
            if cancellation.wait(until: BootTime.now().advanced(by: pass.pause)) { return }
        }
    }

    func stop() {
        queue.withLock { $0.isClosed = true }
        arrived.signal()
        cancellation.request()
    }

    // MARK: Notifications

    /// Switches the broadcaster's streams, unless the notification is a repetition or older than one already applied.
    private func apply(_ notification: EventSubNotification) {
        let type = EventSubMetrics.MessageType(notification.event)
        guard isNew(notification) else { return metrics.count(type, .duplicate) }
        let workers = registry.workers.filter {
            $0.stream.broadcaster?.matches(notification) ?? false
        }
        guard !workers.isEmpty else { return metrics.count(type, .ignored) }
        var outcome = EventSubMetrics.Outcome.stale
        for worker in workers where isLatest(notification, of: worker.stream.name) {
            outcome = .accepted
            switch notification.event {
            case .online: report("online", worker, registry.start(worker, insists: true))
            case .offline: report("offline", worker, registry.stop(worker))
            case .other: break
            }
        }
        metrics.count(type, outcome)
    }

    /// A catalogue that fails must not cost a recording: the message then counts as new.
    private func isNew(_ notification: EventSubNotification) -> Bool {
        do throws(CatalogueError) {
            return try catalogue.remember(messageID: notification.id)
        } catch {
            log(.error, "EventSub message not in the catalogue", ["error": "\(error)"])
            return true
        }
    }

    /// Twitch does not guarantee an order.
    private func isLatest(_ notification: EventSubNotification, of stream: String) -> Bool {
        latest.withLock { latest in
            let sentAt = notification.sentAt
            if let known = latest[stream], known.nanoseconds >= sentAt.nanoseconds { return false }
            latest[stream] = sentAt
            return true
        }
    }

    private func report(_ event: String, _ worker: StreamRecorder, _ switching: SwitchResult) {
        let fields: KeyValuePairs = [
            "stream": worker.stream.name, "event": event, "outcome": "\(switching)",
        ]
        log(.info, "Twitch says", fields)
    }
}

extension TwitchService {
    /// The service of a configuration, with the secrets that it names; `nil` without Twitch.
    ///
    /// The metrics are declared in any case: a dashboard then shows 0, not a gap.
    static func load(
        _ configuration: Configuration,
        _ registry: StreamRegistry,
        _ context: RecordingContext,
        _ environment: [String: String]
    ) throws(StartError) -> TwitchService? {
        let metrics = EventSubMetrics(context.publisher)
        guard let settings = configuration.twitch else { return nil }
        let secret = try eventSubSecret(settings.eventSubSecretFile, environment, context.log)
        let subscriptions = try settings.application.map { application throws(StartError) in
            try Subscriptions(
                registry.workers.compactMap(\.stream.broadcaster),
                application,
                clientSecret: clientSecret(
                    application.clientSecretFile,
                    environment,
                    context.log
                ),
                secret: secret,
                userAgent: userAgent,
                context.log
            )
        }
        return try StartError.wrapping("set up Twitch") { () throws(SystemError) in
            try TwitchService(
                EventSubWebhook(secret: secret),
                subscriptions,
                registry,
                context.catalogue,
                metrics,
                context.log
            )
        }
    }

    static func eventSubSecret(
        _ path: String?,
        _ environment: [String: String],
        _ log: Log
    ) throws(StartError) -> Secret {
        let source = SecretSource(
            field: "twitch.eventsub_secret_file",
            path: path,
            variable: "STREAMVAULT_TWITCH_EVENTSUB_SECRET"
        )
        let secret = try source.require(environment, log)
        guard (10...100).contains(secret.bytes.count) else {
            throw StartError(
                description: "\(source.field): Twitch takes secrets of 10 to 100 bytes"
            )
        }
        return secret
    }

    static func clientSecret(
        _ path: String?,
        _ environment: [String: String],
        _ log: Log
    ) throws(StartError) -> Secret {
        let source = SecretSource(
            field: "twitch.client_secret_file",
            path: path,
            variable: "STREAMVAULT_TWITCH_CLIENT_SECRET"
        )
        return try source.require(environment, log)
    }
}

/// Counts deliveries by their type and result; each series exists from the start, at 0.
struct EventSubMetrics: Sendable {
    enum MessageType: String, CaseIterable, Sendable {
        case verification = "webhook_callback_verification"
        case online = "stream.online"
        case offline = "stream.offline"
        case revocation
        /// Of a subscription that the recorder does not make.
        case other
        /// The signature is not Twitch's.
        case unverified

        init(_ event: EventSubNotification.Event) {
            switch event {
            case .online: self = .online
            case .offline: self = .offline
            case .other: self = .other
            }
        }

        fileprivate var outcomes: [Outcome] {
            switch self {
            case .verification, .revocation: [.accepted]
            case .online, .offline: [.accepted, .duplicate, .stale, .ignored, .unavailable]
            case .other: [.ignored]
            case .unverified: [.refused]
            }
        }
    }

    enum Outcome: String, CaseIterable, Sendable {
        case accepted
        /// Delivered before.
        case duplicate
        /// Older than a message of the same stream that was applied.
        case stale
        /// Concerns no stream.
        case ignored
        case refused
        /// Answered with 503, to be delivered again.
        case unavailable
    }

    private let counters: [MessageType: [Outcome: Counter]]

    init(_ publisher: Publisher) {
        var counters: [MessageType: [Outcome: Counter]] = [:]
        for type in MessageType.allCases {
            for outcome in type.outcomes {
                counters[type, default: [:]][outcome] = publisher.counter(
                    "streamvault_eventsub_messages_total",
                    "Messages at the EventSub webhook.",
                    labels: ["type": type.rawValue, "result": outcome.rawValue]
                )
            }
        }
        self.counters = counters
    }

    func count(_ type: MessageType, _ outcome: Outcome) {
        counters[type]?[outcome]?.add()
    }
}
