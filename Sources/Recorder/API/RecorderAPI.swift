import Catalogue
import HTTP
import JSON
import Posix
import StreamVaultTelemetry
import Synchronization
import WebSocket

/// The routes of the recorder's HTTP API, which is served from the start to the end of the shutdown.
struct RecorderAPI: Sendable {
    let context: RecordingContext
    let registry: StreamRegistry
    let handshake: WebSocketHandshake
    /// Required by requests that change something; `nil` refuses all of them.
    let token: BearerToken?
    let wrongTokens: WrongTokens
    /// `nil` without Twitch.
    let twitch: TwitchService?
    /// A main loop without a heartbeat for this time has hung.
    var heartbeatTimeout = Verdict.heartbeatTimeout(heartbeatInterval: Recorder.heartbeatInterval)

    private var status: RecorderStatus { context.status }

    func respond(to request: Request) -> Response {
        switch request.path {
        case "/health": reading(request) { health() }
        case "/api/recording/active": reading(request) { activeRecordings() }
        case "/api/status/recordings-active": reading(request) { recordingsActive() }
        case "/api/drain": changing(request) { beginDrain() }
        case "/ws": webSocket(request)
        case "/eventsub": twitch?.answer(request) ?? .notFound
        case "*": .allowing([.get, .head, .post], for: request.method)
        default: switching(request) ?? .notFound
        }
    }

    private func reading(_ request: Request, _ answer: () -> Response) -> Response {
        switch request.method {
        case .get, .head: answer()
        default: .allowing([.get, .head], for: request.method)
        }
    }

    /// Answers a POST with the token; without a token in the configuration, none.
    private func changing(_ request: Request, _ answer: () -> Response) -> Response {
        guard request.method == .post else { return .allowing([.post], for: request.method) }
        guard let token else {
            return .problem(.forbidden, "no bearer token is configured: see web.bearer_token_file")
        }
        guard let refusal = token.refusal(of: request) else { return answer() }
        if wrongTokens.note(request) { context.metrics.wrongTokens.add() }
        return refusal
    }

    private func beginDrain() -> Response {
        if case .stopping = status.state, let refusal = registry.refusal {
            return .refusing(refusal)
        }
        registry.drain(context)
        return .json(.accepted, ["state": .string(status.state.name)])
    }

    /// Starts a WebSocket if there is room; `WebSocketHandshake` checks where the request comes from.
    private func webSocket(_ request: Request) -> Response {
        if request.method != .get { return .allowing([.get], for: request.method) }
        guard !context.broadcaster.isStopping, context.broadcaster.hasRoom else {
            return .unavailable("no more clients are taken", retryAfter: 5)
        }
        return handshake.answer(request)
    }

    // MARK: State

    /// 200 also while stopping, since an orchestrator would kill the recordings after a failed probe.
    ///
    /// 503 if the main loop hangs.
    func health() -> Response {
        let state = status.state
        var body: JSONValue = [
            "status": .string(state.health), "recorder": .string(status.name),
            "active_recordings": .integer(status.recordingCount),
            "disk": .string(status.disk.rawValue),
        ]
        if case .stopping(let phase, let deadline) = state {
            body["phase"] = .string(phase.rawValue)
            body["seconds_left"] = .double(deadline.since(.now()).inSeconds)
        } else if let silence = hangSilence {
            body["status"] = "hung"
            body["seconds_since_heartbeat"] = .double(silence.inSeconds)
            return .json(.unavailable, body)
        }
        return .json(.ok, body)
    }

    /// Time since the last heartbeat, if it is longer than the exporter allows too.
    private var hangSilence: Duration? {
        let silence = status.silence
        return silence > heartbeatTimeout ? silence : nil
    }

    /// 503 before the streams have started, when an empty array would be wrong.
    private func activeRecordings() -> Response {
        if case .starting = status.state { return .refusing(.starting) }
        let now = BootTime.now()
        return .json(.ok, .array(status.recordings.map { $0.json(now: now) }))
    }

    /// For scripts that replace the recorder: whether they may.
    private func recordingsActive() -> Response {
        let state = status.state
        if case .starting = state { return .refusing(.starting) }
        let active = status.recordings
        return .json(
            .ok,
            [
                "has_active_recordings": .boolean(!active.isEmpty),
                "active_count": .integer(active.count),
                "safe_to_update": .boolean(active.isEmpty),
                "active_streams": .array(active.map(\.stream).sorted().map { .string($0) }),
                "state": .string(state.name), "timestamp": .string(WallTime.now().iso8601),
                "message": active.isEmpty
                    ? "nothing is being recorded"
                    : .string("recordings are under way: \(active.count)"),
            ]
        )
    }

    // MARK: Streams

    /// `/api/recording/start/STREAM` and `/api/recording/stop/STREAM`.
    private func switching(_ request: Request) -> Response? {
        let parts = request.path.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 5, parts[..<3] == ["", "api", "recording"] else { return nil }
        let stream = String(parts[4])
        switch parts[3] {
        case "start": return changing(request) { change(stream) { start($0) } }
        case "stop": return changing(request) { change(stream) { registry.stop($0) } }
        default: return nil
        }
    }

    private func change(
        _ stream: String,
        _ action: (StreamRecorder) -> SwitchResult
    ) -> Response {
        guard let worker = registry[stream] else { return .problem(.notFound, "no such stream") }
        return switch action(worker) {
        case .changed: .json(.accepted, switched(worker, hasChanged: true))
        case .unchanged: .json(.ok, switched(worker, hasChanged: false))
        case .refused(let refusal): .refusing(refusal)
        }
    }

    /// Refuses a start on a full disk, so that the client sees the reason.
    ///
    /// Starts by Twitch or the configuration wait for space instead.
    private func start(_ worker: StreamRecorder) -> SwitchResult {
        let needsRoom = registry.refusal == nil && worker.switchState == .off
        return needsRoom && !status.disk.allowsRecordings
            ? .refused(.noSpace) : registry.start(worker)
    }

    /// A stream that is `on` without a recording waits for its source.
    private func switched(_ worker: StreamRecorder, hasChanged: Bool) -> JSONValue {
        [
            "stream": .string(worker.stream.name), "state": .string(worker.switchState.name),
            "changed": .boolean(hasChanged), "recording": .boolean(worker.active != nil),
        ]
    }
}

extension ActiveRecording {
    /// The recording for API and WebSocket clients; `status` replaces the status once the recording has ended.
    func json(status: RecordingResult? = nil, now: BootTime) -> JSONValue {
        var recording: JSONValue = ["id": .integer(id), "stream": .string(stream)]
        recording["title"] = title.map { .string($0) }
        recording["started_at"] = .string(startedAt.iso8601)
        recording["file_path"] = .string(filePath)
        recording["status"] = .string(status?.rawValue ?? self.status.rawValue)
        recording["duration"] = .integer(Int(now.since(startedBoot).inSeconds))
        recording["bytes"] = .integer(bytes)
        return recording
    }
}

extension RecorderStatus.State {
    fileprivate var health: String {
        switch self {
        case .recording: "ok"
        case .starting, .draining, .stopping: name
        }
    }
}

extension StreamSwitch.StreamState {
    fileprivate var name: String {
        switch self {
        case .off: "off"
        case .on, .stopping(thenStart: true): "on"
        case .stopping(thenStart: false), .interrupted: "stopping"
        }
    }
}

extension Response {
    static func json(_ status: Status, _ value: JSONValue) -> Response {
        Response(
            status,
            contentType: "application/json",
            body: JSONWriter.write(value, .line)
        )
    }

    /// An error with its reason.
    static func problem(_ status: Status, _ error: String) -> Response {
        .json(status, ["error": .string(error)])
    }

    /// An error that asks the client to retry after some seconds.
    static func unavailable(
        _ error: String,
        retryAfter seconds: Int,
        _ status: Status = .unavailable
    ) -> Response {
        var response = problem(status, error)
        response.headers = [("Retry-After", "\(seconds)")]
        return response
    }

    static func refusing(_ refusal: Refusal) -> Response {
        switch refusal {
        case .starting: unavailable("the recorder is starting", retryAfter: 1)
        case .draining: unavailable("the recorder is draining", retryAfter: 60)
        case .stopping(let secondsLeft):
            unavailable("the recorder is stopping", retryAfter: Int(secondsLeft) + 1)
        case .noSpace:
            unavailable(
                "the disk is full or cannot be written",
                retryAfter: 60,
                .insufficientStorage
            )
        case .failed(let error): unavailable("not started: \(error)", retryAfter: 10)
        }
    }
}

/// Serves the API on a thread of its own until the process ends, so that it is available in every phase of the shutdown.
final class APIServer: Sendable {
    /// Locked by the thread for its lifetime.
    private let server: Mutex<Server>

    /// Requests may have content: many times the size of an EventSub delivery.
    static var limits: Limits {
        var limits = Limits()
        limits.contentBytes = 64 << 10
        return limits
    }

    /// Takes a server that already listens, so that a port in use is an error before anything has started.
    init(_ server: consuming sending Server) {
        self.server = Mutex(server)
    }

    func start(_ api: RecorderAPI, _ log: Log) throws(SystemError) {
        let pause = try StopSignal()
        let limiter = LogLimiter()
        try DetachedThread.start(named: "api") { [self] in
            while true {
                do throws(SystemError) {
                    try serve(api, log)
                } catch {
                    // Without the API, the liveness probe would fail and end all recordings.
                    log(
                        .error,
                        "API failed, retrying",
                        ["error": "\(error)"],
                        limitedBy: limiter,
                        condition: "\(error)"
                    )
                    _ = pause.wait(until: BootTime.now().advanced(by: .seconds(1)))
                }
            }
        }
    }

    private func serve(_ api: RecorderAPI, _ log: Log) throws(SystemError) -> Never {
        try server.withLock { server throws(SystemError) in
            var loop = EventLoop()
            while true {
                loop.begin()
                let deadline = server.prepare(&loop)
                _ = try loop.wait(until: deadline)
                try server.serve(loop) { api.respond(to: $0) }
                handOver(from: &server, to: api.context.broadcaster)
                if let count = server.evictionsToReport() {
                    log(.warn, "Connections closed to make room for others", ["count": "\(count)"])
                }
            }
        }
    }

    private func handOver(from server: inout Server, to broadcaster: Broadcaster) {
        while true {
            do throws(SystemError) {
                guard let connection = try server.nextUpgraded() else { return }
                broadcaster.adopt(connection)
            } catch {
                // There was no descriptor for the connection, so it was closed; the client will retry.
                continue
            }
        }
    }
}
