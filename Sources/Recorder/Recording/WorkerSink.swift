import Posix

/// Takes a source's media; the recording begins with the first of it, so that a stream that is off leaves no file.
final class WorkerSink: MediaSink {
    private let worker: StreamWorker
    private(set) var recording: RunningRecording?
    /// How the next file is packed.
    private var container: MediaContainer

    init(worker: StreamWorker) {
        self.worker = worker
        container = worker.stream.container
    }

    func append(_ media: Span<UInt8>) throws(SystemError) {
        try worker.writing { () throws(SystemError) in try begun().append(media) }
        if let recording { worker.show(recording.facts) }
    }

    func beginPart(_ container: MediaContainer) throws(SystemError) {
        self.container = container
        guard let recording else { return }
        try worker.writing { () throws(SystemError) in try recording.beginPart(container) }
        worker.show(recording.facts)
    }

    func note(_ event: SourceEvent) { worker.note(event) }

    private func begun() throws(SystemError) -> RunningRecording {
        if let recording { return recording }
        let begun = try worker.begin(container)
        recording = begun
        return begun
    }
}
