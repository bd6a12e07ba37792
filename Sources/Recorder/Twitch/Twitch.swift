import Fetch
import Posix
import StreamVaultTelemetry

/// All that has to do with Twitch, put together: the webhook, and what makes its subscriptions.
struct Twitch: Sendable {
    let service: EventSubService
    /// `nil` when somebody else makes the subscriptions.
    private let subscriber: TwitchSubscriber?
    private let stop: StopSignal

    /// `nil` without Twitch in the configuration.
    init?(
        _ configuration: Configuration,
        _ roster: Roster,
        _ context: RecordingContext,
        _ environment: [String: String]
    ) throws(StartError) {
        // Declared also without Twitch: a dashboard then shows 0, not a gap.
        let metrics = EventSubMetrics(context.publisher)
        guard let twitch = configuration.twitch else { return nil }
        let secret = try Self.eventSubSecret(twitch.eventSubSecretFile, environment, context.log)
        let switchboard = EventSubSwitchboard(roster, metrics, context.log) {
            (id) throws(CatalogueError) in try context.catalogue.remember(messageID: id)
        }
        let webhook = EventSubWebhook(secret: secret)
        service = EventSubService(webhook, switchboard, metrics, context.log)
        stop = try StartError.wrapping("set up Twitch") {
            () throws(SystemError) in try StopSignal()
        }
        subscriber = try twitch.application.map { application throws(StartError) in
            let helix = HelixClient(
                application,
                clientSecret: try Self.clientSecret(
                    application.clientSecretFile,
                    environment,
                    context.log
                ),
                context.log
            )
            return TwitchSubscriber(
                helix: helix,
                callback: application.callback,
                secret: secret,
                roster: roster,
                log: context.log
            )
        }
    }

    func startWebhook(_ mainThread: Wakeup) throws(SystemError) -> BackgroundTask<SystemError> {
        try BackgroundTask(named: "eventsub", mainThread) { () throws(SystemError) in
            service.run()
        }
    }

    func startSubscriptions(
        _ mainThread: Wakeup
    ) throws(SystemError) -> BackgroundTask<SystemError> {
        try BackgroundTask(named: "twitch", mainThread) { () throws(SystemError) in
            subscriber?.run(until: stop)
        }
    }

    /// What was started, for the shutdown to end.
    func service(of tasks: [BackgroundTask<SystemError>]) -> RunningService {
        RunningService(tasks: tasks) { _ in
            service.stop()
            stop.request()
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
