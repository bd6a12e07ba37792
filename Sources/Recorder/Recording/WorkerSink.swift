import Media
import Posix

/// Takes a source's media; the recording begins with the first of it, so that a stream that is off leaves no file.
final class WorkerSink: MediaSink {
    private let worker: StreamWorker
    private(set) var recording: RunningRecording?
    /// How the next file is packed.
    private var container: MediaContainer
    /// When the recording has lasted long enough, if that is to be.
    private var splitDue: BootTime?
    /// Whether no recording is to follow: what a source delivers on the way to its end is not taken.
    private var isOver = false

    /// Between two attempts to split.
    private static let pause = Duration.seconds(60)

    init(worker: StreamWorker) {
        self.worker = worker
        container = worker.stream.container
    }

    func append(_ media: Span<UInt8>) throws(SystemError) {
        guard !isOver else { return }
        if recording == nil, !container.mayBegin(with: media) { worker.noteForeign(container) }
        try worker.writing { () throws(SystemError) in try begun().append(media) }
        if let recording { worker.show(recording.facts) }
    }

    func beginPart(_ container: MediaContainer) throws(SystemError) {
        self.container = container
        guard let recording else { return }
        try worker.writing { () throws(SystemError) in try recording.beginPart(container) }
        worker.show(recording.facts)
    }

    func note(_ event: SourceEvent) {
        if !isOver { worker.note(event) }
    }

    private func begun() throws(SystemError) -> RunningRecording {
        if let recording { return recording }
        let begun = try worker.begin(container)
        hold(begun)
        return begun
    }

    private func hold(_ recording: RunningRecording) {
        self.recording = recording
        splitDue = worker.stream.splitAfter.map { recording.end(of: $0) }
    }
}

extension WorkerSink {
    var isSplitDue: Bool { splitDue.map { $0 <= .now() } ?? false }

    func split(_ container: MediaContainer) -> Bool {
        guard let recording else { return false }
        switch worker.succession {
        case .next: return split(recording, container)
        case .none:
            worker.writing { worker.end(with: recording) }
            (self.recording, splitDue, isOver) = (nil, nil, true)
            return true
        case .itself:
            splitDue = nil
            return false
        }
    }

    private func split(_ recording: RunningRecording, _ container: MediaContainer) -> Bool {
        guard let next = worker.writing({ worker.replace(recording, container) }) else {
            splitDue = BootTime.now().advanced(by: Self.pause)
            return false
        }
        self.container = container
        hold(next)
        return true
    }
}
