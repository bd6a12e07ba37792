import Catalogue
import Media
import Posix
import StreamVaultTelemetry
import Synchronization

/// What the API and the WebSocket clients see of the recorder: its state, the disk's level and the open recordings.
///
/// Each thread stores here what it changes, so that an answer of the API waits for no stream and no disk.
final class RecorderStatus: Sendable {
    enum State: Sendable {
        /// Recordings of earlier runs are recovered; the streams have not started.
        case starting
        case recording
        /// No new recordings; the recorder ends with the last open one.
        case draining
        case stopping(Phase, deadline: BootTime)

        /// As in the telemetry.
        var name: String {
            switch self {
            case .starting: "starting"
            case .recording: "recording"
            case .draining: "draining"
            case .stopping: "stopping"
            }
        }
    }

    private struct Contents {
        var state = State.starting
        var disk = DiskLevel.ample
        /// By stream; each is written by the stream's own thread only.
        var recordings: [String: ActiveRecording] = [:]
    }

    let name: String
    private let contents = Mutex(Contents())
    /// On `CLOCK_BOOTTIME` in nanoseconds.
    private let lastHeartbeat = Atomic(BootTime.now().nanoseconds)

    init(name: String) { self.name = name }

    var state: State { contents.withLock { $0.state } }

    func changeState<Result: Sendable>(_ change: (inout State) -> Result) -> Result {
        contents.withLock { change(&$0.state) }
    }

    var disk: DiskLevel {
        get { contents.withLock { $0.disk } }
        set { contents.withLock { $0.disk = newValue } }
    }

    /// The open recordings, ordered by stream.
    var recordings: [ActiveRecording] {
        contents.withLock { Array($0.recordings.values) }.sorted { $0.stream < $1.stream }
    }

    var recordingCount: Int { contents.withLock { $0.recordings.count } }

    /// The open recording of a stream.
    subscript(stream: String) -> ActiveRecording? {
        get { contents.withLock { $0.recordings[stream] } }
        set { contents.withLock { $0.recordings[stream] = newValue } }
    }

    /// Called by the main loop with each heartbeat of the telemetry.
    func noteHeartbeat() {
        lastHeartbeat.store(BootTime.now().nanoseconds, ordering: .relaxed)
    }

    /// Time since the last heartbeat.
    var silence: Duration {
        BootTime.now().since(BootTime(nanoseconds: lastHeartbeat.load(ordering: .relaxed)))
    }
}

/// An open recording, as the API and the WebSocket clients see it.
struct ActiveRecording: Equatable, Sendable {
    enum Status: String, Sendable {
        case recording, finalizing
    }

    /// The catalogue's; the same for all parts of a recording, also for those of another run.
    var id: Int64
    var stream: String
    var title: String?
    var startedAt: WallTime
    var startedBoot: BootTime
    /// The part that is being written.
    var filePath: String
    var container: MediaContainer
    var status = Status.recording
    /// Of all its parts in this run.
    var bytes = 0
}

/// A change of a recording, for the WebSocket clients.
enum RecordingEvent: Sendable {
    case started(ActiveRecording)
    /// Its file is being finalized.
    case finalizing(ActiveRecording)
    case stopped(ActiveRecording, RecordingResult)
    /// The recording failed, or its file could not be finalized; `stopped` follows.
    case failed(ActiveRecording, error: String)
}
