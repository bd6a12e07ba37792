import Posix

/// A recording under way, as the API shows it.
struct ActiveRecording: Equatable, Sendable {
    enum Status: String, Sendable {
        case recording, finalizing
    }

    /// The catalogue's; 0 when the catalogue did not take it.
    var id: Int64
    var stream: String
    var title: String?
    var startedAt: WallTime
    var startedBoot: BootTime
    var filePath: String
    var container: MediaContainer
    var status = Status.recording
    var bytes = 0
}
