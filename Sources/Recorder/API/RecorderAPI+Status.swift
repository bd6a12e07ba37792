import HTTP
import Posix
import StreamVaultTelemetry

extension RecorderAPI {
    /// 200 also while stopping: a failure then would have the recordings killed.
    ///
    /// 503 when the main loop stands still.
    func health() -> Response {
        let stage = roster.current
        var body = Health(
            status: stage.health,
            recorder: roster.name,
            activeRecordings: roster.active.count,
            disk: drain.context.disk.level.rawValue
        )
        if case .stopping(let phase, let deadline) = stage {
            body.phase = phase.rawValue
            body.secondsLeft = deadline.since(.now()).inSeconds
        } else if let silence = hangSilence {
            (body.status, body.secondsSinceHeartbeat) = ("hung", silence.inSeconds)
            return .json(.unavailable, body)
        }
        return .json(.ok, body)
    }

    /// Time without a heartbeat, when it is longer than the exporter allows too.
    private var hangSilence: Duration? {
        let silence = drain.context.publisher.silence
        return silence > heartbeatTimeout ? silence : nil
    }

    /// An empty list would say that nothing is recorded: before the streams are started, nobody knows.
    func activeRecordings() -> Response {
        if case .starting = roster.current { return .refusing(.starting) }
        let now = BootTime.now()
        return .json(.ok, roster.active.map { RecordingDocument($0, now: now) })
    }

    /// The question of a script that wants to replace the recorder.
    func recordingsActive() -> Response {
        let stage = roster.current
        if case .starting = stage { return .refusing(.starting) }
        let active = roster.active
        return .json(
            .ok,
            RecordingsActive(
                hasActiveRecordings: !active.isEmpty,
                activeCount: active.count,
                safeToUpdate: active.isEmpty,
                activeStreams: active.map(\.stream).sorted(),
                state: stage.name,
                timestamp: WallTime.now().iso8601,
                message: active.isEmpty
                    ? "nothing is being recorded" : "recordings are under way: \(active.count)"
            )
        )
    }
}

private struct Health: Encodable {
    var status: String
    let recorder: String
    let activeRecordings: Int
    let disk: String
    var phase: String?
    var secondsLeft: Double?
    /// When it is `hung`.
    var secondsSinceHeartbeat: Double?
}

/// What `wait-idle` reads, too.
struct RecordingsActive: Codable {
    let hasActiveRecordings: Bool
    let activeCount: Int
    let safeToUpdate: Bool
    let activeStreams: [String]
    let state: String
    let timestamp: String
    let message: String
}

extension Roster.Stage {
    /// As the telemetry calls it.
    var name: String {
        switch self {
        case .starting: "starting"
        case .recording: "recording"
        case .draining: "draining"
        case .stopping: "stopping"
        }
    }

    fileprivate var health: String {
        switch self {
        case .recording: "ok"
        case .starting, .draining, .stopping: name
        }
    }
}
