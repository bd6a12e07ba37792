import Foundation
import Glibc
import HTTP
import Posix
import StreamVaultTelemetry
import Synchronization
import Testing
import Twitch
import WebSocket

@testable import Catalogue
@testable import Media
@testable import Recorder

/// A recorder without a process of its own: real streams, files, catalogue and API, on a test's threads.
final class APIBench: Sendable {
    static let token = "a-token"

    let files = FilesDirectory()
    let context: RecordingContext
    let registry: StreamRegistry
    let broadcaster: Broadcaster
    let metrics: EventSubMetrics

    init(
        _ streams: [StreamConfiguration],
        _ settings: Broadcaster.Settings = .init(),
        phases: [PhaseBudget] = []
    ) throws {
        let wakeup = try Wakeup()
        let logPath = "\(files.path)/log"
        let publisher = try Publisher(
            directory: files.path,
            name: "bench",
            version: "1",
            phases: phases
        )
        let broadcaster = try Recorder.makeBroadcaster(publisher, settings)
        let log = Log(file: try FileDescriptor(opening: logPath, O_WRONLY | O_CREAT | O_APPEND))
        let metrics = RecorderMetrics(publisher)
        let catalogue = try Catalogue(path: "\(files.path)/catalogue.sqlite")
        context = RecordingContext(
            directory: files.path,
            syncInterval: .seconds(1),
            sourceTimeout: .seconds(20),
            publisher: publisher,
            metrics: metrics,
            catalogue: catalogue,
            journal: try CatalogueJournal(catalogue, log),
            resumableRecordings: ResumableRecordings(within: .seconds(600)),
            disk: DiskGuard(files.path, recorder: "bench", DiskSettings(), metrics, log),
            wantsRemux: false,
            log: log,
            wakeup: wakeup,
            status: RecorderStatus(name: "bench"),
            broadcaster: broadcaster
        )
        let context = context
        registry = StreamRegistry(
            context.status,
            workers: streams.map { StreamRecorder($0, context) }
        )
        self.broadcaster = broadcaster
        self.metrics = EventSubMetrics(publisher)
    }

    /// Ends what runs.
    func close() throws {
        for worker in registry.workers { worker.shutDown() }
        try waitFor("the end of all streams") { registry.workers.allSatisfy(\.hasEnded) }
    }

    func api(token: String? = APIBench.token) -> RecorderAPI {
        RecorderAPI(
            context: context,
            registry: registry,
            handshake: WebSocketHandshake(allowedOrigins: []),
            token: token.flatMap { BearerToken(Array($0.utf8)) },
            wrongTokens: WrongTokens(context.log),
            twitch: nil
        )
    }

    /// Serves the API and the WebSocket; the address.
    func serve() throws -> (address: ListenAddress, broadcasting: RunningService) {
        let broadcasting = try broadcaster.start(context.wakeup, context.status)
        let listener = ListenAddress.internet(.loopback, port: 0)
        let server = try Server(on: [listener], limits: APIServer.limits)
        let address = server.addresses[0]
        try APIServer(server).start(api(), context.log)
        return (address, broadcasting)
    }

    /// How the recordings of a stream ended, the oldest first.
    func statuses(of stream: String) throws -> [String] {
        try context.catalogue.transaction { (database) throws(CatalogueError) in
            try database.run(
                "SELECT status FROM recordings WHERE stream = ? ORDER BY id",
                [.text(stream)]
            )
        }
        .compactMap { $0.first?.asText }
    }
}

extension StreamConfiguration {
    /// A stream of packets, a few a second, for as long as nobody ends it.
    static func packets(
        _ name: String,
        record: RecordPolicy = .onDemand,
        broadcaster: TwitchBroadcaster? = nil
    ) -> StreamConfiguration {
        let packet = "head -c 188 /dev/zero | tr '\\0' G"
        return StreamConfiguration(
            name: name,
            title: nil,
            source: .command(
                argv: ["sh", "-c", "while \(packet); do sleep 0.05; done"],
                container: .mpegTS
            ),
            record: record,
            broadcaster: broadcaster
        )
    }

    /// A stream that has nothing yet.
    static func silence(_ name: String) -> StreamConfiguration {
        let source = Source.command(argv: ["sleep", "600"], container: .mpegTS)
        return StreamConfiguration(name: name, title: nil, source: source, record: .onDemand)
    }
}

/// Waits until `condition` holds, a minute at most.
func waitFor(_ what: String, _ condition: () throws -> Bool) throws {
    let end = BootTime.now().advanced(by: .seconds(60))
    while try !condition() {
        try #require(BootTime.now() < end, "not within a minute: \(what)")
        usleep(10_000)
    }
}

extension APIBench {
    /// What was logged so far.
    func logged() throws -> String { String(decoding: try files.bytes(of: "log"), as: UTF8.self) }

    /// A whole-number cell as an exporter would read it; `nil` when nobody declared it.
    func word(_ name: String, _ values: [String] = []) throws -> UInt64? {
        var reader = SegmentReader(path: "\(files.path)/bench.telemetry")
        let snapshot = try reader.snapshot()
        let series = snapshot.contents.series.first {
            snapshot.contents.families[$0.family].name == name && $0.values == values
        }
        return series.map { snapshot.words[$0.word] }
    }
}
