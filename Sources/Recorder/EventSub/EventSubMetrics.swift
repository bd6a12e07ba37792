import StreamVaultTelemetry

/// What became of Twitch's deliveries, each series from the start at 0.
struct EventSubMetrics: Sendable {
    enum MessageType: String, CaseIterable, Sendable {
        case verification = "webhook_callback_verification"
        case online = "stream.online"
        case offline = "stream.offline"
        case revocation
        /// Of a subscription that the recorder does not make.
        case other
        /// Not known to be Twitch's at all.
        case unverified
    }

    enum Outcome: String, CaseIterable, Sendable {
        case accepted
        /// Delivered before.
        case duplicate
        /// Overtaken by a later one of the same stream.
        case stale
        /// Of no concern to any stream.
        case ignored
        case refused
        /// Turned away with 503, to be delivered again.
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

extension EventSubMetrics.MessageType {
    init(_ event: EventSubNotification.Event) {
        switch event {
        case .online: self = .online
        case .offline: self = .offline
        case .other: self = .other
        }
    }

    /// What can become of such a message.
    fileprivate var outcomes: [EventSubMetrics.Outcome] {
        switch self {
        case .verification, .revocation: [.accepted]
        case .online, .offline: [.accepted, .duplicate, .stale, .ignored, .unavailable]
        case .other: [.ignored]
        case .unverified: [.refused]
        }
    }
}
