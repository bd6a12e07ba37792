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
        text().map { WebSocketFrame.encode(.text, $0) }
    }

    /// Whether the active recordings are others afterwards.
    var changesRecordings: Bool {
        switch self {
        case .recording: true
        case .active, .draining, .stopping: false
        }
    }

    private func text() -> [UInt8]? {
        let now = BootTime.now()
        return switch self {
        case .active(let recordings):
            Self.encode(
                "active_recordings_update",
                recordings.map { RecordingDocument($0, now: now) }
            )
        case .recording(.started(let recording)):
            Self.encode("recording_started", RecordingDocument(recording, now: now))
        case .recording(.finalizing): nil
        case .recording(.stopped(let recording, let result)):
            Self.encode(
                "recording_stopped",
                RecordingDocument(recording, status: result.rawValue, now: now)
            )
        case .recording(.failed(let recording, let error)):
            Self.encode(
                "recording_error",
                Failure(id: recording.id, stream: recording.stream, error: error)
            )
        case .draining: Self.encode("shutdown", Ending(state: "draining"))
        case .stopping(let phase, let secondsLeft):
            Self.encode(
                "shutdown",
                Ending(state: "stopping", phase: phase.rawValue, secondsLeft: secondsLeft)
            )
        }
    }

    private static func encode(_ type: String, _ data: some Encodable) -> [UInt8]? {
        encodedJSON(Envelope(type: type, data: data, timestamp: WallTime.now().iso8601))
    }

    private struct Envelope<Data: Encodable>: Encodable {
        let type: String
        let data: Data
        let timestamp: String
    }

    private struct Failure: Encodable {
        let id: Int64
        let stream: String
        let error: String
    }

    private struct Ending: Encodable {
        let state: String
        var phase: String?
        var secondsLeft: Double?
    }
}
