import FuzzSupport
import HTTP
import Media
import Posix
import StreamVaultTelemetry
import Twitch
import WebSocket

@testable import Catalogue
@testable import Fetch
@testable import Media
@testable import Recorder

/// A recorder without files, threads or sockets, which drains: so no request starts anything.
enum Stage {
    /// In lower case.
    static let token = "a-token"

    static func api() -> RecorderAPI {
        do {
            return try make()
        } catch {
            fatalError("\(error)")
        }
    }

    private static func make() throws -> RecorderAPI {
        let publisher = try Publisher(
            directory: "/nowhere",
            name: "fuzz",
            version: "1",
            phases: []
        )
        let context = try context(publisher)
        let streams = ["gate", "yard"].map { name in
            StreamConfiguration(
                name: name,
                title: nil,
                source: .command(argv: ["true"], container: .mpegTS),
                record: .onDemand
            )
        }
        let registry = StreamRegistry(
            context.status,
            workers: streams.map { StreamRecorder($0, context) }
        )
        registry.open()
        registry.drain(context)
        return RecorderAPI(
            context: context,
            registry: registry,
            handshake: WebSocketHandshake(allowedOrigins: []),
            token: BearerToken(Array(token.utf8)),
            wrongTokens: WrongTokens(context.log),
            twitch: try twitch(registry, context)
        )
    }

    private static func context(_ publisher: Publisher) throws -> RecordingContext {
        let (log, metrics) = (Log(), RecorderMetrics(publisher))
        let catalogue = try Catalogue(path: Catalogue.inMemory)
        return RecordingContext(
            directory: "/nowhere",
            syncInterval: .seconds(1),
            sourceTimeout: .seconds(1),
            publisher: publisher,
            metrics: metrics,
            catalogue: catalogue,
            journal: try CatalogueJournal(catalogue, log),
            resumableRecordings: ResumableRecordings(within: .seconds(600)),
            disk: DiskGuard("/nowhere", recorder: "fuzz", DiskSettings(), metrics, log),
            wantsRemux: false,
            log: log,
            wakeup: try Wakeup(),
            status: RecorderStatus(name: "fuzz"),
            broadcaster: try Recorder.makeBroadcaster(publisher)
        )
    }

    private static func twitch(
        _ registry: StreamRegistry,
        _ context: RecordingContext
    ) throws(SystemError) -> TwitchService {
        try TwitchService(
            EventSubWebhook(secret: Secret(Array("nobody knows it".utf8))),
            nil,
            registry,
            context.catalogue,
            EventSubMetrics(context.publisher),
            context.log
        )
    }
}
