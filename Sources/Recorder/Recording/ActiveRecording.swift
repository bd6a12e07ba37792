import Media
import Posix

/// A recording under way, as the API shows it.
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
