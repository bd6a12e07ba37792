import Glibc
import Media
import Posix
import StreamVaultTelemetry
import Synchronization

/// Records one stream for as long as it is wanted, on a thread of its own: its calls block.
final class StreamWorker: Sendable {
    let stream: StreamConfiguration
    private let context: RecordingContext
    private let source: any MediaSource
    private let limiter = LogLimiter()
    private let state = Mutex(State())
    /// When the write that is under way began, on `CLOCK_BOOTTIME` in nanoseconds; 0 when none is.
    private let writingSince = Atomic<UInt64>(0)

    private struct State {
        var power = StreamSwitch()
        /// Of the thread that runs, if one does.
        var stop: StopSignal?
        var active: ActiveRecording?
        /// Of the file that is recorded to.
        var watch: PartWatch?
        /// Whether it is wanted, and had no thread or no descriptor to start with.
        var isMissing = false
        /// How many recordings have files that could not be finalized.
        var failures = 0
    }

    init(_ stream: StreamConfiguration, _ context: RecordingContext) {
        (self.stream, self.context) = (stream, context)
        source = stream.makeSource(
            endingWithin: context.sourcePatience,
            context.addressExceptions,
            context.segmentMemory,
            context.log,
            limiter
        )
    }

    var active: ActiveRecording? { state.withLock { $0.active } }

    /// Whether the stream is on, off, or on its way.
    var phase: StreamSwitch.Phase { state.withLock { $0.power.phase } }

    /// Whether there is no thread, and so no open file.
    var hasEnded: Bool { phase == .off }

    /// How many recordings have files that could not be finalized.
    var failures: Int { state.withLock { $0.failures } }

    /// Looks whether the file that is recorded to is still in its place; blocks as long as its file system does.
    func checkPart() { state.withLock { $0.watch }?.look() }

    /// Whether one write has been under way for `patience`: its disk hangs.
    func isStuck(at now: BootTime, patience: Duration) -> Bool {
        let since = writingSince.load(ordering: .relaxed)
        return since != 0 && now.since(BootTime(nanoseconds: since)) > patience
    }

    /// Records whenever the source delivers, until it is told otherwise; a second call changes nothing.
    func start() throws(SystemError) {
        try take { _ in .start }
        state.withLock { $0.isMissing = false }
    }

    /// As `start`; where that fails, `startIfMissing` tries again.
    func startInsisting() {
        if let shortage = Headroom.shortage() { return noteNotStarted(shortage) }
        do throws(SystemError) {
            try start()
        } catch {
            noteNotStarted(error)
        }
    }

    /// Whether it is wanted, and could not be started.
    var isMissing: Bool { state.withLock { $0.isMissing } }

    private func noteNotStarted(_ error: SystemError) {
        state.withLock { $0.isMissing = true }
        noteMissing(because: error)
    }

    private func noteMissing(because error: SystemError) {
        context.metrics.refusedRecordings[FinalizeError.Reason(code: error.code)]?.add()
        context.log(
            .error,
            "Stream not started, to be tried again",
            ["stream": stream.name, "error": "\(error)"],
            limitedBy: limiter,
            condition: "\(error)"
        )
    }

    /// Ends the recording, which is then complete, and records no more; does not wait for that.
    func stop() { takeEnding { _ in .stop } }

    /// Begins no recording any more; one that is under way goes on until its source ends.
    func drain() { takeEnding { .drain(isRecording: $0.active != nil) } }

    /// Interrupts the recording, and records no more; does not wait for that.
    func shutDown() { takeEnding { _ in .shutDown } }

    private func takeEnding(_ event: (State) -> StreamSwitch.Event) {
        state.withLock { $0.isMissing = false }
        // Only a launch throws, and these launch nothing.
        try? take(event)
    }

    private func take(_ event: (State) -> StreamSwitch.Event) throws(SystemError) {
        try state.withLock { state throws(SystemError) in
            var power = state.power
            switch power.take(event(state)) {
            case .none: break
            case .launch: state.stop = try launch()
            case .requestStop: state.stop?.request()
            }
            state.power = power
        }
    }

    private func launch() throws(SystemError) -> StopSignal {
        let stop = try StopSignal()
        try DetachedThread.start(named: stream.name) { [self] in run(until: stop) }
        return stop
    }

    private func run(until stop: StopSignal) {
        var pause = Backoff()
        repeat {
            let start = BootTime.now()
            record(into: WorkerSink(worker: self), until: stop)
            pause.ran(for: BootTime.now().since(start))
            // What this stream holds may be what another needs: it makes room, and is started again in turn.
            if !stop.isRequested, mayGoOn, let shortage = Headroom.shortage() {
                return end(for: shortage)
            }
        } while mayGoOn && !stop.wait(until: BootTime.now().advanced(by: pause.next()))
        end()
        context.wakeup.wake()
    }

    private var mayGoOn: Bool { state.withLock { $0.power.mayGoOn } }

    private func end(for shortage: SystemError) {
        let isWanted = state.withLock { state in
            state.isMissing = state.power.phase == .on
            _ = state.power.take(.ended)
            return state.isMissing
        }
        if isWanted { noteMissing(because: shortage) }
        context.wakeup.wake()
    }

    private func end() {
        do throws(SystemError) {
            try take { _ in .ended }
        } catch {
            stop()
            takeEnding { _ in .ended }
            noteNotStarted(error)
        }
    }

    /// Records until the source ends.
    private func record(into sink: WorkerSink, until stop: StopSignal) {
        if let refusal = context.disk.refusal {
            context.metrics.refusedRecordings[refusal.reason]?.add()
            guard limiter.shouldLog("refused") else { return }
            let fields: KeyValuePairs = ["stream": stream.name, "reason": "\(refusal)"]
            return context.log(.warn, "Recording refused", fields)
        }
        do throws(SourceError) {
            let end = try source.run(into: sink, until: stop)
            if let recording = sink.recording {
                finish(recording, end == .finished ? .completed : stopped)
            }
        } catch {
            if sink.recording != nil || !StreamConfiguration.isLogged(error, by: limiter) {
                context.log(
                    .warn,
                    "Stream failed",
                    ["stream": stream.name, "error": "\(error)"],
                    limitedBy: limiter,
                    condition: LogLimiter.withoutNumbers("\(error)")
                )
            }
            guard let recording = sink.recording else { return }
            if !stop.isRequested { context.report(.failed(recording.facts, error: "\(error)")) }
            finish(recording, stop.isRequested ? stopped : .failed, because: error.reason)
        }
    }

    /// How a recording ends whose source was asked to.
    private var stopped: RecordingResult {
        state.withLock { $0.power.isInterrupted } ? .interrupted : .completed
    }

    /// Ends a recording; `next` is the one that follows on it without a gap.
    private func finish(
        _ recording: RunningRecording,
        _ result: RecordingResult,
        because reason: FinalizeError.Reason? = nil,
        next: ActiveRecording? = nil
    ) {
        state.withLock { $0.active?.status = .finalizing }
        context.report(.finalizing(recording.facts))
        let failure = recording.finish(result, because: reason)
        state.withLock { state in
            state.active = next
            if failure != nil { state.failures += 1 }
        }
        if let failure { context.report(.failed(recording.facts, error: "\(failure)")) }
        context.report(.stopped(recording.facts, failure == nil ? result : .failed))
        context.wakeup.wake()
    }

    /// Begins the recording that the first media is for.
    func begin(_ container: MediaContainer) throws(SystemError) -> RunningRecording {
        let earlier = context.continuations.find(
            stream.name,
            at: UTCTime(.now()),
            lastingLessThan: stream.splitAfter
        )
        let recording = try makeRecording(container, continuing: earlier)
        announce(recording)
        return recording
    }

    /// What follows on a recording that has lasted long enough.
    var succession: StreamSwitch.Succession { state.withLock { $0.power.succession } }

    /// Ends `recording`, and begins the next; `nil` when no file can be had for that: `recording` then goes on.
    func replace(_ recording: RunningRecording, _ container: MediaContainer) -> RunningRecording? {
        let next: RunningRecording
        do throws(SystemError) {
            next = try makeRecording(container, continuing: nil)
        } catch {
            let fields: KeyValuePairs = ["stream": stream.name, "error": "\(error)"]
            context.log(.warn, "Recording not split, and goes on", fields)
            return nil
        }
        finish(recording, .completed, next: next.facts)
        announce(next)
        return next
    }

    /// Ends `recording`, and records no more.
    func end(with recording: RunningRecording) {
        finish(recording, .completed)
        stop()
    }

    private func makeRecording(
        _ container: MediaContainer,
        continuing earlier: Continuation?
    ) throws(SystemError) -> RunningRecording {
        do throws(SystemError) {
            return try RunningRecording(stream, container, context, continuing: earlier)
        } catch {
            context.metrics.refusedRecordings[FinalizeError.Reason(code: error.code)]?.add()
            throw error
        }
    }

    private func announce(_ recording: RunningRecording) {
        state.withLock { ($0.active, $0.watch) = (recording.facts, recording.watch) }
        limiter.reset()
        let fields: KeyValuePairs = ["stream": stream.name, "path": recording.facts.filePath]
        context.log(.info, "Recording started", fields)
        context.report(.started(recording.facts))
    }

    /// What there is to say of the recording now.
    func show(_ facts: ActiveRecording) {
        state.withLock { state in
            guard state.active != nil else { return }
            state.active = facts
        }
    }

    /// Runs a write, which `isStuck` watches.
    func writing<Result, Failure>(
        _ body: () throws(Failure) -> Result
    ) throws(Failure) -> Result {
        writingSince.store(BootTime.now().nanoseconds, ordering: .relaxed)
        defer { writingSince.store(0, ordering: .relaxed) }
        return try body()
    }

    /// Says at once what would else be found out at the end of the recording: the file will not be finished.
    func noteForeign(_ container: MediaContainer) {
        guard limiter.shouldLog("foreign") else { return }
        let fields: KeyValuePairs = ["stream": stream.name, "container": container.rawValue]
        context.log(.error, "Media is not in the container that is configured", fields)
    }

    func note(_ event: SourceEvent) { context.note(event, of: stream.name, limiter) }
}

extension SourceError {
    /// Why the recording failed, where it was not the stream that did.
    fileprivate var reason: FinalizeError.Reason? {
        switch self {
        case .sink(let error): FinalizeError.Reason(code: error.code)
        case .program, .stream: nil
        }
    }
}
