import HTTP
import JSON
import Posix
import StreamVaultTelemetry

extension RecorderAPI {
    /// 200 also while stopping: a failure then would have the recordings killed.
    ///
    /// 503 when the main loop stands still.
    func health() -> Response {
        let stage = roster.current
        var body: JSONValue = [
            "status": .string(stage.health), "recorder": .string(roster.name),
            "active_recordings": .integer(roster.active.count),
            "disk": .string(drain.context.disk.level.rawValue),
        ]
        if case .stopping(let phase, let deadline) = stage {
            body["phase"] = .string(phase.rawValue)
            body["seconds_left"] = .double(deadline.since(.now()).inSeconds)
        } else if let silence = hangSilence {
            body["status"] = "hung"
            body["seconds_since_heartbeat"] = .double(silence.inSeconds)
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
        return .json(.ok, .array(roster.active.map { $0.json(now: now) }))
    }

    /// The question of a script that wants to replace the recorder.
    func recordingsActive() -> Response {
        let stage = roster.current
        if case .starting = stage { return .refusing(.starting) }
        let active = roster.active
        return .json(
            .ok,
            [
                "has_active_recordings": .boolean(!active.isEmpty),
                "active_count": .integer(active.count),
                "safe_to_update": .boolean(active.isEmpty),
                "active_streams": .array(active.map(\.stream).sorted().map { .string($0) }),
                "state": .string(stage.name), "timestamp": .string(WallTime.now().iso8601),
                "message": active.isEmpty
                    ? "nothing is being recorded"
                    : .string("recordings are under way: \(active.count)"),
            ]
        )
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
