import Catalogue
import Fetch
import FoundationEssentials
import Glibc
import HLS
import Media
import Posix
import StreamVaultTelemetry
import Synchronization

/// Records one stream for as long as it is wanted, on a thread of its own: its calls block.
final class StreamRecorder: Sendable {
    let stream: StreamConfiguration
    private let context: RecordingContext
    private let limiter = LogLimiter()
    private let state = Mutex(State())
    /// When the write in progress began, on `CLOCK_BOOTTIME` in nanoseconds; 0 without one.
    private let writingSince = Atomic<UInt64>(0)

    private struct State {
        var power = StreamSwitch()
        /// Of the thread, if it runs.
        var stop: StopSignal?
        /// Of the file that is being written.
        var watch: PartWatch?
        /// Whether it is wanted, and had no thread or no descriptor to start with.
        var isMissing = false
        /// How many recordings have files that could not be finalized.
        var failures = 0
        /// Where the next attempt to record an HLS stream continues.
        var position: HLSReader.Position?
    }

    init(_ stream: StreamConfiguration, _ context: RecordingContext) {
        (self.stream, self.context) = (stream, context)
    }

    var active: ActiveRecording? { context.status[stream.name] }

    /// Whether the stream is on, off, or changing.
    var switchState: StreamSwitch.StreamState { state.withLock { $0.power.state } }

    /// Whether there is no thread, and so no open file.
    var hasEnded: Bool { switchState == .off }

    /// How many recordings have files that could not be finalized.
    var failures: Int { state.withLock { $0.failures } }

    /// Checks whether the file that is being written is still in its place; blocks as long as its file system does.
    func checkPart() { state.withLock { $0.watch }?.check() }

    /// Whether one write has lasted longer than `timeout`: its disk hangs.
    func isStuck(at now: BootTime, timeout: Duration) -> Bool {
        let since = writingSince.load(ordering: .relaxed)
        return since != 0 && now.since(BootTime(nanoseconds: since)) > timeout
    }

    // MARK: Starting and stopping, from other threads

    /// Records whenever the source delivers, until it is stopped; a second call changes nothing.
    func start() throws(SystemError) {
        try apply { _ in .start }
        state.withLock { $0.isMissing = false }
    }

    /// As `start`; if that fails, `isMissing` is set, and the start is to be tried again.
    func startInsisting() {
        if let shortage = Headroom.shortage() { return startFailed(shortage) }
        do throws(SystemError) {
            try start()
        } catch {
            startFailed(error)
        }
    }

    /// Whether it is wanted, and could not be started.
    var isMissing: Bool { state.withLock { $0.isMissing } }

    private func startFailed(_ error: SystemError) {
        state.withLock { $0.isMissing = true }
        reportMissing(because: error)
    }

    private func reportMissing(because error: SystemError) {
        context.metrics.refusedRecordings[FinalizeError.Reason(code: error.code)]?.add()
        log(
            .error,
            "Stream not started, to be tried again",
            ["stream": stream.name, "error": "\(error)"],
            "\(error)"
        )
    }

    /// Ends the recording, which is then complete, and records no more; does not wait for that.
    func stop() { applyEnding { _ in .stop } }

    /// Begins no recording any more; an open one continues until its source ends.
    func drain() { applyEnding { _ in .drain(isRecording: active != nil) } }

    /// Interrupts the recording, and records no more; does not wait for that.
    func shutDown() { applyEnding { _ in .shutDown } }

    private func applyEnding(_ event: (State) -> StreamSwitch.Event) {
        state.withLock { $0.isMissing = false }
        // Only a launch throws, and these launch nothing.
        try? apply(event)
    }

    private func apply(_ event: (State) -> StreamSwitch.Event) throws(SystemError) {
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

    // MARK: The stream's thread

    private func run(until stop: StopSignal) {
        var pause = Backoff()
        repeat {
            let start = BootTime.now()
            record(until: stop)
            pause.ran(for: BootTime.now().since(start))
            // Another stream may need what this one holds: it releases it, and is started again in turn.
            if !stop.isRequested, continues, let shortage = Headroom.shortage() {
                return end(because: shortage)
            }
        } while continues && !stop.wait(until: BootTime.now().advanced(by: pause.next()))
        do throws(SystemError) {
            try apply { _ in .ended }
        } catch {
            self.stop()
            applyEnding { _ in .ended }
            startFailed(error)
        }
        context.wakeup.wake()
    }

    private var continues: Bool { state.withLock { $0.power.continues } }

    private func end(because shortage: SystemError) {
        let isWanted = state.withLock { state in
            state.isMissing = state.power.state == .on
            _ = state.power.take(.ended)
            return state.isMissing
        }
        if isWanted { reportMissing(because: shortage) }
        context.wakeup.wake()
    }

    /// Records until the source ends: one recording, or several that follow each other without a gap.
    private func record(until stop: StopSignal) {
        if let refusal = context.disk.refusal {
            context.metrics.refusedRecordings[refusal.reason]?.add()
            return log(
                .warn,
                "Recording refused",
                ["stream": stream.name, "reason": "\(refusal)"],
                "refused"
            )
        }
        var recording: Recording?
        do throws(StreamError) {
            let hasEnded =
                switch stream.source {
                case .hls(let url, let quality, let startPoint):
                    try record(url, quality, startPoint, to: &recording, until: stop)
                case .command(let arguments, let container):
                    try record(arguments, container, to: &recording, until: stop)
                }
            if let recording { finish(recording, hasEnded ? .completed : resultOfStop) }
        } catch {
            let condition = LogLimiter.withoutNumbers("\(error)")
            // A playlist's error need not be logged again because the reader gives up.
            if recording != nil || !limiter.isSuppressed("Playlist not loaded: \(condition)") {
                let fields: KeyValuePairs = ["stream": stream.name, "error": "\(error)"]
                log(.warn, "Stream failed", fields, condition)
            }
            guard let recording else { return }
            if !stop.isRequested { report(.failed(recording.status, error: "\(error)")) }
            finish(recording, stop.isRequested ? resultOfStop : .failed, because: error.reason)
        }
    }

    /// How a recording ends whose source was stopped.
    private var resultOfStop: RecordingResult {
        state.withLock { $0.power.isInterrupted } ? .interrupted : .completed
    }

    /// Records an HLS stream; whether the stream has ended by itself.
    private func record(
        _ url: URL,
        _ quality: Quality,
        _ startPoint: StartPoint,
        to recording: inout Recording?,
        until stop: StopSignal
    ) throws(StreamError) -> Bool {
        var settings = HLSReader.Settings()
        settings.userAgent = userAgent
        (settings.quality, settings.startPoint) = (quality, startPoint)
        settings.addressExceptions = context.addressExceptions
        settings.memory = context.segmentMemory
        var reader: HLSReader
        do throws(HLSError) {
            reader = try HLSReader(url, settings, from: state.withLock { $0.position })
        } catch {
            throw .source(error.description)
        }
        defer {
            let position = reader.position(isInterrupted: stop.isRequested)
            state.withLock { $0.position = position }
        }
        while true {
            let item = reader.next(until: stop)
            switch item {
            case .segment(let unit, let number, let isDiscontinuous):
                if let current = recording, !current.isSplitDue, let due = current.dueTime(of: unit)
                {
                    reader.wait(until: due, or: stop)
                    if stop.isRequested { return false }
                }
                do throws(SystemError) {
                    writingSince.store(BootTime.now().nanoseconds, ordering: .relaxed)
                    defer { writingSince.store(0, ordering: .relaxed) }
                    guard split(&recording, before: unit.container) != .over else { return false }
                    let current = try open(&recording, unit.container)
                    let isJoined = try current.append(
                        unit,
                        number: number,
                        isDiscontinuous: isDiscontinuous
                    )
                    if isJoined { reportJoinedPart() }
                    show(current.status)
                } catch {
                    throw .storage(error)
                }
                context.metrics.mediaSegments[.written]?.add()
            case .ended: return true
            case .stopped: return false
            case .failed(let error): throw .source(error.description)
            default: report(item)
            }
        }
    }

    /// Counts and logs what an HLS stream met on the way.
    private func report(_ event: HLSReader.Item) {
        let metrics = context.metrics
        switch event {
        case .segment, .ended, .stopped, .failed: break
        case .missed(let count):
            metrics.mediaSegments[.missed]?.add(UInt64(clamping: count))
            log(.warn, "Segments missed", ["stream": stream.name, "count": "\(count)"], "segments")
        case .segmentFailed(let number, let message):
            metrics.mediaSegments[.missed]?.add()
            let fields: KeyValuePairs = [
                "stream": stream.name, "number": "\(number)", "error": message,
            ]
            log(.warn, "Segment missed", fields, LogLimiter.withoutNumbers(message))
        case .restarted:
            log(.warn, "Media sequence began again", ["stream": stream.name], "sequence")
        case .variantChosen(let variant):
            log(
                .info,
                "Variant chosen",
                ["stream": stream.name, "variant": variant],
                "variant: \(variant)"
            )
        case .loadFailed(let failure, let message):
            metrics.playlistErrors[failure]?.add()
            let condition = LogLimiter.withoutNumbers(message)
            log(.warn, "Playlist not loaded", ["stream": stream.name, "error": message], condition)
        case .addressRefused: metrics.refusedAddresses.add()
        case .deviation(let kind):
            metrics.playlistDeviations[kind]?.add()
            let fields: KeyValuePairs = ["stream": stream.name, "kind": kind.rawValue]
            log(.warn, "Playlist deviates from RFC 8216", fields, "deviation: \(kind.rawValue)")
        case .bytesDropped(let count):
            metrics.droppedBytes.add(UInt64(clamping: count))
            let fields: KeyValuePairs = ["stream": stream.name, "bytes": "\(count)"]
            log(.warn, "Bytes that belong to no packet are dropped", fields, "dropped bytes")
        case .memoryFull(let waits):
            metrics.segmentWaits.add(UInt64(clamping: waits))
            log(.warn, "Segments wait for memory (hls.memory)", ["stream": stream.name], "memory")
        }
    }

    private func reportJoinedPart() {
        context.metrics.joinedParts.add()
        let text = "New parts are too frequent, media is appended to the current part"
        log(.warn, text, ["stream": stream.name], "parts")
    }

    /// Records the output of a program; whether the program has ended by itself.
    private func record(
        _ arguments: [String],
        _ container: MediaContainer,
        to recording: inout Recording?,
        until stop: StopSignal
    ) throws(StreamError) -> Bool {
        var reader: CommandReader
        do throws(CommandError) {
            let steps = StopStep.standard.fitted(into: context.sourceTimeout)
            reader = try CommandReader(arguments, steps: steps)
        } catch {
            throw .source(error.description)
        }
        // After the last recording, the output is only read so that the program can end.
        var isOver = false
        while true {
            switch reader.next(until: stop, cutting: recording?.isSplitDue ?? false) {
            case .output(let media):
                if !isOver { try append(media.span, container, to: &recording) }
            case .cut(let tables, let media):
                writingSince.store(BootTime.now().nanoseconds, ordering: .relaxed)
                let result = split(&recording, before: container)
                writingSince.store(0, ordering: .relaxed)
                isOver = isOver || result == .over
                if isOver { continue }
                if result == .next { try append(tables.span, container, to: &recording) }
                try append(media.span, container, to: &recording)
            case .noCutFound:
                if !isOver {
                    log(.warn, "No place to split the recording yet", ["stream": stream.name])
                }
            case .errorLine(let line):
                let condition = LogLimiter.withoutNumbers(line)
                log(
                    .info,
                    "Command wrote to its standard error",
                    ["stream": stream.name, "line": line],
                    condition
                )
            case .ended: return true
            case .stopped: return false
            case .failed(let error): throw .source(error.description)
            }
        }
    }

    private func append(
        _ media: Span<UInt8>,
        _ container: MediaContainer,
        to recording: inout Recording?
    ) throws(StreamError) {
        if recording == nil, !container.isPlausibleStart(media), limiter.shouldLog("foreign") {
            // The end of the recording would report it too, but late: the file will not be finalized.
            let fields: KeyValuePairs = [
                "stream": stream.name, "container": container.rawValue,
            ]
            log(.error, "Media is not in the container that is configured", fields)
        }
        do throws(SystemError) {
            writingSince.store(BootTime.now().nanoseconds, ordering: .relaxed)
            defer { writingSince.store(0, ordering: .relaxed) }
            let current = try open(&recording, container)
            try current.append(media)
            show(current.status)
        } catch {
            throw .storage(error)
        }
    }

    // MARK: Recordings

    /// The open recording; it begins with its first media, so that a stream that delivers nothing leaves no file.
    private func open(
        _ recording: inout Recording?,
        _ container: MediaContainer
    ) throws(SystemError) -> Recording {
        if let recording { return recording }
        let earlier = context.resumableRecordings.find(
            stream.name,
            at: UTCTime(.now()),
            lastingLessThan: stream.splitAfter
        )
        let begun = try makeRecording(container, continuing: earlier)
        recording = begun
        show(begun: begun)
        return begun
    }

    private enum SplitResult {
        /// The same recording continues.
        case none
        /// The next recording has begun.
        case next
        /// The recording has ended, and no other is to begin.
        case over
    }

    /// Ends a recording that has lasted long enough, and begins the next.
    private func split(
        _ recording: inout Recording?,
        before container: MediaContainer
    ) -> SplitResult {
        guard let current = recording, current.isSplitDue else { return .none }
        switch state.withLock({ $0.power.splitAction }) {
        case .itself:
            current.postponeSplit(forGood: true)
            return .none
        case .none:
            finish(current, .completed)
            recording = nil
            stop()
            return .over
        case .next: break
        }
        let next: Recording
        do throws(SystemError) {
            next = try makeRecording(container, continuing: nil)
        } catch {
            log(
                .warn,
                "Recording not split, and continues",
                ["stream": stream.name, "error": "\(error)"]
            )
            current.postponeSplit(forGood: false)
            return .none
        }
        finish(current, .completed, next: next.status)
        show(begun: next)
        recording = next
        return .next
    }

    private func makeRecording(
        _ container: MediaContainer,
        continuing earlier: ResumableRecording?
    ) throws(SystemError) -> Recording {
        do throws(SystemError) {
            return try Recording(stream, container, context, continuing: earlier)
        } catch {
            context.metrics.refusedRecordings[FinalizeError.Reason(code: error.code)]?.add()
            throw error
        }
    }

    private func show(begun recording: Recording) {
        state.withLock { $0.watch = recording.watch }
        context.status[stream.name] = recording.status
        limiter.reset()
        log(.info, "Recording started", ["stream": stream.name, "path": recording.status.filePath])
        report(.started(recording.status))
    }

    private func show(_ status: ActiveRecording) {
        if active != nil { context.status[stream.name] = status }
    }

    /// Finalizes a recording; `next` is the one that follows it without a gap.
    private func finish(
        _ recording: Recording,
        _ result: RecordingResult,
        because reason: FinalizeError.Reason? = nil,
        next: ActiveRecording? = nil
    ) {
        context.status[stream.name]?.status = .finalizing
        report(.finalizing(recording.status))
        let failure = recording.finish(result, because: reason)
        if failure != nil { state.withLock { $0.failures += 1 } }
        context.status[stream.name] = next
        if let failure { report(.failed(recording.status, error: "\(failure)")) }
        report(.stopped(recording.status, failure == nil ? result : .failed))
        context.wakeup.wake()
    }

    private func report(_ event: RecordingEvent) { context.broadcaster.send(.recording(event)) }

    /// Logs a message about the stream; with a condition, only if that was not logged in the last ten minutes.
    private func log(
        _ level: Log.Level,
        _ message: String,
        _ fields: KeyValuePairs<String, String>,
        _ condition: String? = nil
    ) {
        guard let condition else { return context.log(level, message, fields) }
        context.log(level, message, fields, limitedBy: limiter, condition: condition)
    }
}

/// Why an attempt to record a stream failed.
private enum StreamError: Error, CustomStringConvertible {
    /// The media could not be stored.
    case storage(SystemError)
    /// The stream cannot be loaded or is not supported; the program could not be started or failed.
    case source(String)

    var description: String {
        switch self {
        case .storage(let error): "media not stored: \(error)"
        case .source(let text): text
        }
    }

    /// Why the recording failed, if storing it did.
    var reason: FinalizeError.Reason? {
        switch self {
        case .storage(let error): FinalizeError.Reason(code: error.code)
        case .source: nil
        }
    }
}

/// Checks whether the process can have what a stream needs: descriptors, and a thread or a process.
///
/// Otherwise a thousand streams that each hold a part of what they need could keep one another from recording.
enum Headroom {
    /// Creates pipes and a thread for a moment; `nil` if they can be had.
    static func shortage(pipes count: Int = 4) -> SystemError? {
        do throws(SystemError) {
            try hold(pipes: count)
            try DetachedThread.start(named: "headroom") {}
            return nil
        } catch {
            return error
        }
    }

    /// Holds all of them at the same time.
    private static func hold(pipes count: Int) throws(SystemError) {
        guard count > 0 else { return }
        let pipe = try Pipe()
        try hold(pipes: count - 1)
        _ = consume pipe
    }
}
