import Fetch
import Glibc
import HTTP
import Posix
import StreamVaultTelemetry

/// Why the recorder does not start, in one line.
struct StartError: Error, CustomStringConvertible {
    let description: String

    /// Adds to an error of `body` what was attempted, and what can be done about it.
    static func wrapping<T: ~Copyable>(
        _ what: String,
        _ body: () throws(SystemError) -> T
    ) throws(StartError) -> T {
        do throws(SystemError) {
            return try body()
        } catch {
            throw StartError(description: "\(what): \(error.withRemedy)")
        }
    }
}

/// The steps of a start, each with its own way to fail.
extension Recorder {
    /// Descriptors that recording so many streams takes, as measured: 37 for the recorder, and 50 for clients and for a moment;
    /// 5 for a command, 5 to 8 for HLS.
    static func descriptors(forStreams count: Int) -> Int { 90 + 10 * count }

    /// How often the main loop gives a sign of life.
    static let heartbeatInterval = Duration.seconds(1)

    /// Opens the log; the callers write, until it has threads.
    static func openLog(_ path: String?) throws(StartError) -> Log {
        try StartError.wrapping("log.file") { () throws(SystemError) in
            if let path { try Log(path: path) } else { Log() }
        }
    }

    /// Makes the directory when it is not there, and asks whether files may be made in it.
    ///
    /// Makes none for that: a start that is killed would leave it, and on a full disk there is no room for it.
    static func checkDirectory(_ path: String) throws(StartError) {
        try StartError.wrapping("recordings_dir") { () throws(SystemError) in
            try FileSystem.makeDirectory(path)
            guard try FileSystem.status(of: path).st_mode & S_IFMT == S_IFDIR else {
                throw SystemError(call: "open \(path)", code: ENOTDIR)
            }
            try FileSystem.checkWritable(path)
        }
    }

    static func listen(_ configuration: Configuration) throws(StartError) -> Server {
        var addresses: [ListenAddress] = []
        for text in configuration.listenAddresses {
            do throws(ListenAddressError) {
                addresses.append(try ListenAddress(text))
            } catch {
                throw StartError(description: "web.listen-address: \(error)")
            }
        }
        var server = try StartError.wrapping("web.listen-address") {
            () throws(SystemError) in try Server(on: addresses, limits: APIServer.limits)
        }
        server.hosts = HostPolicy(
            allowed: configuration.allowedHosts,
            trustedOrigins: configuration.allowedOrigins
        )
        return server
    }

    static func publish(
        _ configuration: Configuration,
        _ plan: ShutdownPlan,
        version: String
    ) throws(StartError) -> Publisher {
        var capacity = SegmentCapacity()
        capacity.recordings = max(16, configuration.streams.count * 2)
        do throws(PublisherError) {
            return try Publisher(
                directory: configuration.telemetryDirectory,
                name: configuration.recorderName,
                version: version,
                heartbeatInterval: heartbeatInterval,
                phases: plan.declared,
                capacity: capacity
            )
        } catch {
            throw StartError(description: "\(error)")
        }
    }

    /// Opens the catalogue, or what stands in for it: also when a signal comes first.
    static func openCatalogue(
        _ path: String,
        _ metrics: RecorderMetrics,
        _ log: Log,
        _ wakeup: Wakeup,
        _ publisher: Publisher,
        _ loop: inout MainLoop
    ) throws(StartError) -> Catalogue {
        let opening = try StartError.wrapping("start the thread for the catalogue \(path)") {
            () throws(SystemError) in
            let opening = try CatalogueOpening(path: path, wakeup) { metrics.count($0) }
            _ = try loop.wait {
                publisher.heartbeat()  // The check of a large catalogue takes its time.
                return opening.result != nil
            }
            return opening
        }
        do throws(CatalogueError) {
            guard let opened = try opening.result?.get() else {
                log(.warn, "Catalogue not open yet, told to end: does without", ["path": path])
                return try Catalogue(path: Catalogue.inMemory)
            }
            metrics.show(opened.trouble)
            switch opened.trouble {
            case .withoutLog(let mode):
                let fields: KeyValuePairs = ["path": path, "journal_mode": mode]
                log(.warn, "Catalogue without a write-ahead log: is it on a network mount?", fields)
            case .replaced(let error, _), .unusable(let error):
                let trouble = opened.trouble.map { "\($0)" } ?? "\(error)"
                log(.error, "Catalogue not usable", ["path": path, "trouble": trouble])
            case nil: break
            }
            return opened.catalogue
        } catch {
            throw StartError(description: "catalogue \(path): \(error)")
        }
    }

    static func makeBroadcaster(
        _ publisher: Publisher,
        _ settings: Broadcaster.Settings = Broadcaster.Settings()
    ) throws(StartError) -> Broadcaster {
        let clients = publisher.gauge(
            "streamvault_websocket_clients",
            "Clients of the WebSocket."
        )
        return try StartError.wrapping("set up the WebSocket") { () throws(SystemError) in
            try Broadcaster(settings, clientGauge: clients)
        }
    }

    static func loadToken(
        _ path: String?,
        _ environment: [String: String],
        _ log: Log
    ) throws(StartError) -> BearerToken? {
        let source = SecretSource(
            field: "web.bearer_token_file",
            path: path,
            variable: "STREAMVAULT_WEB_BEARER_TOKEN"
        )
        return try source.load(environment, log).flatMap { BearerToken($0.bytes) }
    }
}
