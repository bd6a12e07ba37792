import StreamVaultTelemetry

/// Something that happened to a recording, for those who want to know at once.
enum RecordingEvent: Sendable {
    case started(ActiveRecording)
    /// Its file is being finalized.
    case finalizing(ActiveRecording)
    case stopped(ActiveRecording, RecordingResult)
    /// The recording broke off, or its file could not be finalized; `stopped` follows.
    case failed(ActiveRecording, error: String)
}
