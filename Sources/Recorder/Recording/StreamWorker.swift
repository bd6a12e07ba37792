import Foundation
import Posix
import StreamVaultTelemetry
import Synchronization

/// Records one stream for as long as it is wanted, on a thread of its own: its calls block.
final class StreamWorker: Sendable {
    let stream: StreamConfiguration
    private let context: RecordingContext
    private let source: any MediaSource
    private let stop: StopSignal
    private let state = Mutex(State())
    /// When the write that is under way began, on `CLOCK_BOOTTIME` in nanoseconds; 0 when none is.
    private let writingSince = Atomic<UInt64>(0)

    /// What other threads may know.
    private struct State {
        var active: ActiveRecording?
        var hasEnded = false
        /// Recordings whose files could not be finalized.
        var failures: [FinalizeError] = []
    }

    init(_ stream: StreamConfiguration, _ context: RecordingContext) throws(SystemError) {
        (self.stream, self.context) = (stream, context)
        source = stream.makeSource(endingWithin: context.sourcePatience, context.log)
        stop = try StopSignal()
    }

    var active: ActiveRecording? { state.withLock { $0.active } }

    /// Whether the thread is done, and no file is open.
    var hasEnded: Bool { state.withLock { $0.hasEnded } }

    var failures: [FinalizeError] { state.withLock { $0.failures } }

    /// Whether one write has been under way for `patience`: its disk hangs.
    func isStuck(at now: BootTime, patience: Duration) -> Bool {
        let since = writingSince.load(ordering: .relaxed)
        return since != 0 && now.since(BootTime(nanoseconds: since)) > patience
    }

    func start() {
        let thread = Thread { [self] in run() }
        thread.name = stream.name
        thread.stackSize = 512 << 10
        thread.start()
    }

    /// Ends the recording and the thread; does not wait for either.
    func requestStop() { stop.request() }

    private func run() {
        var pause = Backoff()
        repeat {
            let start = BootTime.now()
            record(into: WorkerSink(worker: self))
            pause.ran(for: BootTime.now().since(start))
        } while !stop.wait(until: BootTime.now().advanced(by: pause.next()))
        state.withLock { $0.hasEnded = true }
        context.wakeup.wake()
    }

    /// Records until the source ends.
    private func record(into sink: WorkerSink) {
        do throws(SourceError) {
            let end = try source.run(into: sink, until: stop)
            finish(sink, end == .finished ? .completed : .interrupted)
        } catch {
            context.log(.warn, "Stream failed", ["stream": stream.name, "error": "\(error)"])
            finish(sink, stop.isRequested ? .interrupted : .failed)
        }
    }

    private func finish(_ sink: WorkerSink, _ result: RecordingResult) {
        if let recording = sink.recording { finish(recording, result) }
    }

    fileprivate func finish(_ recording: RunningRecording, _ result: RecordingResult) {
        state.withLock { $0.active?.status = .finalizing }
        let failure = recording.finish(result)
        state.withLock { state in
            state.active = nil
            if let failure { state.failures.append(failure) }
        }
        context.wakeup.wake()
    }

    fileprivate func begin(_ container: MediaContainer) throws(SystemError) -> RunningRecording {
        let recording = try RunningRecording(stream, container, context)
        state.withLock { $0.active = recording.facts }
        context.log(
            .info,
            "Recording started",
            ["stream": stream.name, "path": recording.facts.filePath]
        )
        return recording
    }

    fileprivate func show(bytes: Int) {
        state.withLock { $0.active?.bytes = bytes }
    }

    /// Runs a write, which `isStuck` watches.
    fileprivate func writing(_ body: () throws(SystemError) -> Void) throws(SystemError) {
        writingSince.store(BootTime.now().nanoseconds, ordering: .relaxed)
        defer { writingSince.store(0, ordering: .relaxed) }
        try body()
    }

    fileprivate func note(_ event: SourceEvent) {
        context.metrics.count(event)
        switch event {
        case .segmentWritten: break
        case .segmentsMissed(let count):
            context.log(.warn, "Segments missed", ["stream": stream.name, "count": "\(count)"])
        case .sequenceReset:
            context.log(.warn, "Media sequence went backwards", ["stream": stream.name])
        case .variantChosen(let variant):
            context.log(.info, "Variant chosen", ["stream": stream.name, "variant": variant])
        case .playlistFailed(let failure):
            let fields: KeyValuePairs = ["stream": stream.name, "reason": failure.rawValue]
            context.log(.warn, "Playlist not loaded", fields)
        }
    }
}

/// Takes a source's media; the recording begins with the first of it, so that a stream that is off leaves no file.
private final class WorkerSink: MediaSink {
    private let worker: StreamWorker
    private(set) var recording: RunningRecording?
    /// How the next file is packed.
    private var container: MediaContainer

    init(worker: StreamWorker) {
        self.worker = worker
        container = worker.stream.container
    }

    func beginPart(_ container: MediaContainer) throws(SystemError) {
        self.container = container
        if let recording { worker.finish(recording, .completed) }
        recording = nil
    }

    func append(_ media: Span<UInt8>) throws(SystemError) {
        try worker.writing { () throws(SystemError) in try begun().append(media) }
        worker.show(bytes: recording?.bytes ?? 0)
    }

    func note(_ event: SourceEvent) { worker.note(event) }

    private func begun() throws(SystemError) -> RunningRecording {
        if let recording { return recording }
        let begun = try worker.begin(container)
        recording = begun
        return begun
    }
}

/// Pauses between attempts: half a second, doubled up to half a minute; they begin anew once a source has run for a while.
///
/// A source that delivers a little and fails would otherwise leave two files a second.
struct Backoff {
    private static let first = Duration.milliseconds(500)
    private var pause = first

    mutating func next() -> Duration {
        defer { pause = min(pause * 2, .seconds(30)) }
        return pause
    }

    mutating func ran(for time: Duration) {
        if time >= .seconds(10) { pause = Self.first }
    }
}
