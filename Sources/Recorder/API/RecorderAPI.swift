import HTTP
import JSON
import Posix
import StreamVaultTelemetry

/// What the recorder answers over HTTP, from its start to the last moment of the shutdown.
struct RecorderAPI: Sendable {
    let roster: Roster
    let drain: Drain
    let broadcaster: Broadcaster
    let handshake: WebSocketHandshake
    /// What a request that changes something has to show; `nil` refuses all of them.
    let token: BearerToken?
    let wrongTokens: WrongTokens
    let wrongTokenCount: Counter
    /// `nil` without Twitch.
    let eventSub: EventSubService?
    /// Whether the disk has room for another recording.
    let hasRoom: @Sendable () -> Bool
    /// A main loop without a heartbeat for longer has hung.
    var heartbeatTimeout = Verdict.patience(heartbeatInterval: Recorder.heartbeatInterval)

    func respond(to request: Request) -> Response {
        switch request.path {
        case "/health": reading(request) { health() }
        case "/api/recording/active": reading(request) { activeRecordings() }
        case "/api/status/recordings-active": reading(request) { recordingsActive() }
        case "/api/drain": changing(request) { beginDrain() }
        case "/ws": webSocket(request)
        case "/eventsub": eventSub?.answer(request) ?? .notFound
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

    /// Answers who shows the token; without one in the configuration, nobody.
    private func changing(_ request: Request, _ answer: () -> Response) -> Response {
        guard request.method == .post else { return .allowing([.post], for: request.method) }
        guard let token else {
            return .problem(.forbidden, "no bearer token is configured: see web.bearer_token_file")
        }
        guard let refusal = token.refusal(of: request) else { return answer() }
        if wrongTokens.note(request) { wrongTokenCount.add() }
        return refusal
    }

    private func beginDrain() -> Response {
        if case .stopping = roster.current, let refusal = roster.refusal {
            return .refusing(refusal)
        }
        drain.begin()
        return .json(.accepted, ["state": .string(roster.current.name)])
    }

    /// Only a page of this server, or an allowed one, may connect; see `WebSocketHandshake`.
    private func webSocket(_ request: Request) -> Response {
        if request.method != .get { return .allowing([.get], for: request.method) }
        guard !broadcaster.isStopping, broadcaster.hasRoom else {
            return .unavailable("no more clients are taken", retryAfter: 5)
        }
        return handshake.answer(request)
    }
}

extension RecorderAPI {
    /// `/api/recording/start/STREAM` and `/api/recording/stop/STREAM`.
    private func switching(_ request: Request) -> Response? {
        let parts = request.path.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 5, parts[..<3] == ["", "api", "recording"] else { return nil }
        let stream = String(parts[4])
        switch parts[3] {
        case "start": return changing(request) { turn(stream) { start($0) } }
        case "stop": return changing(request) { turn(stream) { roster.stop($0) } }
        default: return nil
        }
    }

    private func turn(_ stream: String, _ act: (StreamWorker) -> Switching) -> Response {
        guard let worker = roster[stream] else { return .problem(.notFound, "no such stream") }
        return switch act(worker) {
        case .changed: .json(.accepted, switched(worker, hasChanged: true))
        case .unchanged: .json(.ok, switched(worker, hasChanged: false))
        case .refused(let refusal): .refusing(refusal)
        }
    }

    /// What Twitch or the configuration wants is begun when there is room again; a person wants to know now.
    private func start(_ worker: StreamWorker) -> Switching {
        let asksForRoom = roster.refusal == nil && worker.phase == .off
        return asksForRoom && !hasRoom() ? .refused(.noSpace) : roster.start(worker)
    }

    /// A stream that is on and not recording waits for its source.
    private func switched(_ worker: StreamWorker, hasChanged: Bool) -> JSONValue {
        [
            "stream": .string(worker.stream.name), "state": .string(worker.phase.name),
            "changed": .boolean(hasChanged), "recording": .boolean(worker.active != nil),
        ]
    }
}

extension StreamSwitch.Phase {
    fileprivate var name: String {
        switch self {
        case .off: "off"
        case .on, .endingWhole(thenOn: true): "on"
        case .endingWhole(thenOn: false), .interrupted: "stopping"
        }
    }
}
