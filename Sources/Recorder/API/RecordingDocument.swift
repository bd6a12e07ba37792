import Posix

/// A recording as JSON.
struct RecordingDocument: Encodable {
    let id: Int64
    let stream: String
    let title: String?
    let startedAt: String
    let filePath: String
    /// `recording` or `finalizing`; or how it ended.
    let status: String
    /// Whole seconds since the start.
    let duration: Int
    let bytes: Int

    init(_ recording: ActiveRecording, status: String? = nil, now: BootTime) {
        id = recording.id
        stream = recording.stream
        title = recording.title
        startedAt = recording.startedAt.iso8601
        filePath = recording.filePath
        self.status = status ?? recording.status.rawValue
        duration = Int(now.since(recording.startedBoot).inSeconds)
        bytes = recording.bytes
    }
}
