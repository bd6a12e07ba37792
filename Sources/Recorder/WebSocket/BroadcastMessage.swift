import JSON
import Posix
import StreamVaultTelemetry

/// What clients are told, each as one text message: `{"type", "data", "timestamp"}`.
enum BroadcastMessage: Sendable {
    /// All recordings under way.
    case active([ActiveRecording])
    case recording(RecordingEvent)
    case draining
    case stopping(Phase, secondsLeft: Double)

    /// The message in a frame.
    func frame() -> [UInt8]? {
        value.map { WebSocketFrame.encode(.text, JSONWriter.write($0, .compact)) }
    }

    /// Whether the active recordings are others afterwards.
    var changesRecordings: Bool {
        switch self {
        case .recording: true
        case .active, .draining, .stopping: false
        }
    }

    private var value: JSONValue? {
        let now = BootTime.now()
        return switch self {
        case .active(let recordings):
            Self.message(
                "active_recordings_update",
                .array(recordings.map { $0.json(now: now) })
            )
        case .recording(.started(let recording)):
            Self.message("recording_started", recording.json(now: now))
        case .recording(.finalizing): nil
        case .recording(.stopped(let recording, let result)):
            Self.message("recording_stopped", recording.json(status: result, now: now))
        case .recording(.failed(let recording, let error)):
            Self.message(
                "recording_error",
                [
                    "id": .integer(recording.id), "stream": .string(recording.stream),
                    "error": .string(error),
                ]
            )
        case .draining: Self.message("shutdown", ["state": "draining"])
        case .stopping(let phase, let secondsLeft):
            Self.message(
                "shutdown",
                [
                    "state": "stopping", "phase": .string(phase.rawValue),
                    "seconds_left": .double(secondsLeft),
                ]
            )
        }
    }

    private static func message(_ type: String, _ data: JSONValue) -> JSONValue {
        ["type": .string(type), "data": data, "timestamp": .string(WallTime.now().iso8601)]
    }
}
