import Posix
import Synchronization

/// Publishes the state and the metrics of a recorder in its telemetry segment, from which an exporter serves them.
///
/// Publishing a value is a store or an addition in shared memory: it does not block, allocate, lock or fail. Declaring
/// metrics, recordings and the shutdown hold a lock of this process for a short time. Only the start throws.
///
/// Create one publisher and keep it for the life of the process: the memory that handles refer to is never freed, and the
/// lock that tells readers that the recorder is running is released with the publisher.
///
/// A thread checks the file every second and publishes in a new one if it was removed, replaced or truncated, or could not
/// be created at the start (`onEvent`). The publisher handles SIGBUS and SIGSEGV in its own memory, and passes all others
/// to the handlers that were installed before.
public final class Publisher: Sendable {
    /// What failed at the start, in one line for the log; `nil` if nothing did.
    ///
    /// A directory that is missing, full or read-only must not prevent a recording: the publisher then works in private
    /// memory, and readers see nothing until a later attempt succeeds. Or the segment of the previous run could not be read,
    /// and its counts are lost.
    public let warning: String?

    let segment: PublishedSegment
    private let heartbeatCell: Cell
    /// The same in memory that no other process can change.
    private let lastHeartbeat = Atomic<UInt64>(0)
    private let observer: Observer

    /// Receives events; shared with the thread.
    private final class Observer: Sendable {
        let report = Mutex<(@Sendable (PublisherEvent) -> Void)?>(nil)
    }

    /// Starts a run: determines how the previous run ended, takes over its counts, and creates the segment.
    ///
    /// - Parameters:
    ///   - directory: shared with the exporter; the file in it is `NAME.telemetry`.
    ///   - name: the name of the recorder and of its file, and the value of the label `recorder`.
    ///   - version: the recorder's version, for `streamvault_recorder_info`.
    ///   - heartbeatInterval: the maximum time between calls of `heartbeat()`.
    ///   - phases: the phases of the shutdown, in order.
    ///   - capacity: how much the segment can hold.
    /// - Throws: `PublisherError`. Problems with the directory do not throw; see `warning`.
    public convenience init(
        directory: String,
        name: String,
        version: String,
        heartbeatInterval: Duration = .seconds(1),
        phases: [PhaseBudget] = [],
        capacity: SegmentCapacity = SegmentCapacity()
    ) throws(PublisherError) {
        try self.init(
            RunIdentity(starting: name, version, heartbeatInterval: heartbeatInterval),
            directory: directory,
            phases: phases,
            capacity: capacity,
            timeout: .seconds(2)
        )
        startChecks()
    }

    /// Starts the run that `identity` describes; the caller has to call `check` about once a second.
    ///
    /// `timeout` is for another recorder of this name that is starting.
    package convenience init(
        _ identity: RunIdentity,
        directory: String,
        phases: [PhaseBudget],
        capacity: SegmentCapacity = SegmentCapacity(),
        timeout: Duration = .zero
    ) throws(PublisherError) {
        guard RunIdentity.isName(identity.name) else { throw .invalidName(identity.name) }
        guard PhaseBudget.areValid(phases) else { throw .invalidPhases }
        let plan = RunSettings(
            identity: identity,
            layout: SegmentLayout(capacity),
            phases: phases
        )
        guard let start = plan.start(in: directory, timeout: timeout) else {
            throw .nameTaken(identity.name)
        }
        self.init(start)
    }

    init(_ start: consuming RunSettings.Start) {
        warning = start.warning
        heartbeatCell = start.state.writer.cell(SegmentWord.heartbeat)
        heartbeatCell.store(BootTime.now().nanoseconds)
        segment = PublishedSegment(start)
        observer = Observer()
        heartbeat()
    }

    deinit { segment.end() }

    /// Sets a function that is called, on a thread of the publisher, when a new file was or could not be published.
    public func onEvent(_ report: @escaping @Sendable (PublisherEvent) -> Void) {
        observer.report.withLock { $0 = report }
    }

    /// Checks whether readers find the file, and publishes in a new one if not; `nil` if nothing has changed.
    package func check() -> PublisherEvent? { segment.check() }

    /// Checks every second, on a thread because a file system may hang; without a thread, nothing is checked.
    private func startChecks() {
        let observer = observer
        try? DetachedThread.start(named: "telemetry") { [weak segment] in
            var pause = EventLoop()
            while true {
                let next = BootTime.now().advanced(by: .seconds(1))
                while BootTime.now() < next { _ = try? pause.wait(until: next) }
                guard let segment else { return }
                Self.check(segment, observer)
            }
        }
    }

    /// Checks as the thread does.
    func checkAndReport() { Self.check(segment, observer) }

    private static func check(_ segment: PublishedSegment, _ observer: Observer) {
        guard let event = segment.check() else { return }
        observer.report.withLock { $0 }?(event)
        // The event may have been counted, and the file may be cut before the next check.
        segment.keepCopy()
    }

    /// Reports that the main loop is running; a timer outside of that loop would hide that the loop hangs.
    public func heartbeat() {
        let now = BootTime.now().nanoseconds
        heartbeatCell.store(now)
        lastHeartbeat.store(now, ordering: .relaxed)
    }

    /// Time since the last heartbeat.
    package var silence: Duration {
        BootTime.now().since(BootTime(nanoseconds: lastHeartbeat.load(ordering: .relaxed)))
    }

    /// Sets the state of the recorder; no effect during a shutdown, which has its own calls.
    public func enter(_ runState: RunState) {
        guard !runState.isEnding else { return }
        segment.state.withLock { state in
            guard !state.lifecycle.state.isEnding else { return }
            state.change { $0.state = runState }
        }
    }
}

extension Publisher {
    /// Declares a counter, or finds it; it continues with the value of the previous run.
    ///
    /// - Parameters:
    ///   - name: the complete name, which ends in `_total`.
    ///   - help: at most 200 bytes; the rest is dropped.
    ///   - labels: at most four; the number of different values must be limited. A name always has the same label names.
    /// - Returns: a handle that any thread may use. If there was no room, it has no effect.
    public func counter(
        _ name: String,
        _ help: String,
        labels: KeyValuePairs<String, String> = [:]
    ) -> Counter {
        let family = MetricFamily(name: name, help: help, kind: .counter, labels: labels.map(\.key))
        return Counter(cell: cell(family, labels))
    }

    /// Declares a counter that only the caller adds to; see `counter`.
    public func singleWriterCounter(
        _ name: String,
        _ help: String,
        labels: KeyValuePairs<String, String> = [:]
    ) -> SingleWriterCounter {
        SingleWriterCounter(cell: counter(name, help, labels: labels).cell)
    }

    /// Declares a gauge, or finds it; it is 0 at the start of every run.
    ///
    /// `unit` is the base unit, with which the name ends, or empty.
    public func gauge(
        _ name: String,
        _ help: String,
        unit: String = "",
        labels: KeyValuePairs<String, String> = [:]
    ) -> Gauge {
        var family = MetricFamily(name: name, help: help, kind: .gauge, encoding: .double)
        (family.unit, family.labels) = (unit, labels.map(\.key))
        return Gauge(cell: cell(family, labels))
    }

    /// Declares a histogram of durations, or finds it; it continues with the values of the previous run.
    ///
    /// The name ends in `_seconds`. `bounds` are the upper bounds of the classic buckets except `+Inf`, ascending, at most 32;
    /// the default is 1 ms to 120 s. The buckets of a native histogram are counted as well, at no further cost.
    public func histogram(
        _ name: String,
        _ help: String,
        bounds: [Duration] = [],
        labels: KeyValuePairs<String, String> = [:]
    ) -> Histogram {
        let family = RunMetrics.durations(
            named: name,
            help,
            bounds: bounds.isEmpty ? RunMetrics.durationBounds : bounds.map(\.wholeNanoseconds),
            labels: labels.map(\.key)
        )
        return segment.state.withLock { $0.histogram(family, labels.map(\.value)) }
    }

    /// Declares a histogram in which only the caller observes values; see `histogram`.
    public func singleWriterHistogram(
        _ name: String,
        _ help: String,
        bounds: [Duration] = [],
        labels: KeyValuePairs<String, String> = [:]
    ) -> SingleWriterHistogram {
        SingleWriterHistogram(shared: histogram(name, help, bounds: bounds, labels: labels))
    }

    /// Removes the series with these label values from the exposition, until it is declared again.
    public func retire(_ name: String, _ values: [String] = []) {
        segment.state.withLock { $0.metrics.retire(name, values) }
    }

    private func cell(_ family: MetricFamily, _ labels: KeyValuePairs<String, String>) -> Cell {
        segment.state.withLock { $0.cell(family, labels.map(\.value)) }
    }
}

extension Publisher {
    /// Reports that a shutdown was requested; its first phase begins in the same write.
    ///
    /// - Parameters:
    ///   - signal: number of the signal, 0 for none.
    ///   - gracePeriod: of the complete shutdown; `nil` if not known.
    ///   - phases: the current budgets; phases that were not declared at the start are ignored.
    public func beginShutdown(signal: Int32, gracePeriod: Duration?, phases: [PhaseBudget] = []) {
        let (boot, wall) = (BootTime.now(), WallTime.now())
        segment.state.withLock { state in
            state.change { lifecycle in
                guard !lifecycle.state.isEnding else { return }
                lifecycle.state = .stopping
                lifecycle.signal = UInt32(clamping: signal)
                (lifecycle.requestedBoot, lifecycle.requestedWall) = (boot, wall)
                lifecycle.gracePeriod = gracePeriod?.wholeNanoseconds ?? 0
                if let gracePeriod { lifecycle.deadline = boot.advanced(by: gracePeriod) }
                lifecycle.setBudgets(phases)
                lifecycle.begin(phase: lifecycle.phases.first?.name, at: boot)
            }
        }
    }

    /// Reports that a phase begins; the running phase ends with `outcome` at the same time, in the same write.
    ///
    /// If `name` was not declared, or its phase has begun before, only the running phase ends.
    public func beginPhase(_ name: String, after outcome: PhaseOutcome = .ok) {
        let now = BootTime.now()
        segment.state.withLock { state in
            state.change { lifecycle in
                guard lifecycle.state == .stopping else { return }
                lifecycle.endPhase(outcome, at: now)
                lifecycle.begin(phase: name, at: now)
            }
        }
    }

    /// Reports that the running phase ends; the next one has not begun yet.
    public func endPhase(_ outcome: PhaseOutcome = .ok) {
        let now = BootTime.now()
        segment.state.withLock { state in
            state.change { lifecycle in
                guard lifecycle.state == .stopping else { return }
                lifecycle.endPhase(outcome, at: now)
            }
        }
    }

    /// Reports the end of the run: the running phase ends with `outcome`, and the process exits with `exitStatus`.
    ///
    /// Only the first call has an effect. Recordings that are still open are counted as abandoned.
    public func finish(_ outcome: PhaseOutcome = .ok, exitStatus: Int32) {
        let (boot, wall) = (BootTime.now(), WallTime.now())
        segment.state.withLock { state in
            state.change { lifecycle in
                guard lifecycle.state != .stopped else { return }
                lifecycle.endPhase(outcome, at: boot)
                lifecycle.state = .stopped
                (lifecycle.endedBoot, lifecycle.endedWall) = (boot, wall)
                lifecycle.exitStatus = exitStatus
            }
        }
        heartbeat()
    }

    /// The phases that have ended, in order, with the durations that readers see.
    public var endedPhases: [(name: String, outcome: PhaseOutcome, duration: Duration)] {
        segment.state.withLock { state in
            state.lifecycle.phases.compactMap { phase in
                guard case .ended(let outcome) = phase.state else { return nil }
                return (phase.name, outcome, phase.ended.since(phase.started))
            }
        }
    }
}

extension Lifecycle {
    fileprivate mutating func setBudgets(_ given: [PhaseBudget]) {
        for phase in given {
            guard
                let index = phases.firstIndex(where: {
                    ExactText($0.name) == ExactText(phase.name)
                })
            else { continue }
            phases[index].budget = phase.budget.wholeNanoseconds
        }
    }

    fileprivate mutating func begin(phase name: String?, at now: BootTime) {
        guard let name = name.map(ExactText.init),
            let index = phases.firstIndex(where: {
                ExactText($0.name) == name && $0.state == .pending
            })
        else { return }
        phases[index].state = .running
        phases[index].started = now
    }

    fileprivate mutating func endPhase(_ outcome: PhaseOutcome, at now: BootTime) {
        guard let index = runningPhase else { return }
        phases[index].state = .ended(outcome)
        phases[index].ended = now
    }
}

/// A handle for a series of any kind.
package enum Instrument: Sendable {
    case counter(Counter)
    case gauge(Gauge)
    case histogram(Histogram)
}

/// For an exporter, which publishes for clients: calls that report failures, and the release of memory.
extension Publisher {
    /// Whether there is a file for readers.
    package var isPublished: Bool { segment.isPublished }

    package var lifecycle: Lifecycle { segment.state.withLock { $0.lifecycle } }

    /// Declares a family without a series; `false` if there is no room or the name has another shape.
    package func declare(_ family: MetricFamily) -> Bool {
        segment.state.withLock { state in
            if state.metrics.declare(family) != nil { return true }
            state.metrics.reject()
            return false
        }
    }

    /// Declares a series, or finds it; `nil` if there is no room or the name has another shape.
    package func instrument(_ family: MetricFamily, _ values: [String]) -> Instrument? {
        segment.state.withLock { state in
            guard state.metrics.word(of: family, values) != nil else { return nil }
            switch family.kind {
            case .histogram: return .histogram(state.histogram(family, values))
            case .gauge: return .gauge(Gauge(cell: state.cell(family, values)))
            case .counter, .info, .stateset:
                return .counter(Counter(cell: state.cell(family, values)))
            }
        }
    }

    /// The open recordings by id; of several with the same id, one.
    package var openRecordings: [UInt64: RecordingPublisher] {
        segment.state.withLock { state in
            let open = state.openRecordings.map { slot, recording in
                let bytes = state.bytesCell(slot)
                return (recording.id, RecordingPublisher(self, slot: slot, bytes: bytes))
            }
            return Dictionary(open) { first, _ in first }
        }
    }

    /// Frees the memory: neither the publisher nor its handles may be used afterwards.
    @unsafe package func releaseMemory() {
        unsafe segment.release()
    }
}

extension MetricFamily {
    /// Whether a segment and an exposition can contain it.
    package var isPublishable: Bool { FamilyRecord.holds(self) }

    /// Whether a segment can contain a series with these label values.
    package static func holds(_ values: [String]) -> Bool { SeriesRecord.holds(values) }

    /// Whether it is the name of one of `RunMetrics`.
    package static func isReserved(_ name: String) -> Bool {
        RunMetrics.fixedFamilies[name] != nil
    }
}

/// Publishes one recording from its start to its end.
///
/// Only one thread may report its writes. If there is no room for it (`SegmentCapacity.recordings`), only its end is counted.
public final class RecordingPublisher: Sendable {
    private let publisher: Publisher
    private let slot: Int?
    private let bytes: Cell
    private let hasEnded = Atomic(false)

    init(_ publisher: Publisher, slot: Int?, bytes: Cell) {
        (self.publisher, self.slot, self.bytes) = (publisher, slot, bytes)
    }

    /// Reports that media was written; no effect after the end, when another recording may have the slot.
    ///
    /// - Parameter count: number of bytes since the last call.
    public func wrote(_ count: Int) {
        guard !hasEnded.load(ordering: .relaxed) else { return }
        bytes.addAlone(UInt64(clamping: count))
        bytes.following(1).store(BootTime.now().nanoseconds)
    }

    /// Number of bytes written so far.
    package var bytesWritten: UInt64 { bytes.load() }

    /// Reports that the recording continues in another file.
    public func continues(in path: String, container: String) {
        guard let slot else { return }
        publisher.segment.state.withLock { state in
            guard !hasEnded.load(ordering: .relaxed) else { return }
            state.move(slot, to: path, container: container)
        }
    }

    /// Reports that nothing more will be written and the file is being finalized.
    public func finalizing() {
        guard let slot else { return }
        publisher.segment.state.withLock { state in
            guard !hasEnded.load(ordering: .relaxed) else { return }
            state.finalize(slot)
        }
    }

    /// Reports how the recording ended; no effect if it has ended before, or after `Publisher.finish`.
    public func end(_ result: RecordingResult) {
        guard !hasEnded.exchange(true, ordering: .relaxed) else { return }
        publisher.segment.state.withLock { $0.close(slot, result) }
    }
}

extension Publisher {
    /// Reports that a recording has started.
    ///
    /// - Parameters:
    ///   - id: the recorder's number for the recording.
    ///   - stream: the name of the stream, at most 64 bytes; the value of the label `stream`.
    ///   - path: the file that is being written, at most 256 bytes.
    ///   - container: such as `ts`, at most 8 bytes.
    /// - Returns: an object to which writes and the end are reported.
    public func startRecording(
        id: UInt64,
        stream: String,
        path: String,
        container: String
    ) -> RecordingPublisher {
        let recording = OpenRecording(
            id: id,
            stream: stream,
            path: path,
            container: container,
            state: .recording,
            startedBoot: .now(),
            startedWall: .now()
        )
        let (slot, bytes) = segment.state.withLock { state in
            let slot = state.open(recording)
            return (slot, state.bytesCell(slot))
        }
        return RecordingPublisher(self, slot: slot, bytes: bytes)
    }
}

/// Why a publisher cannot start.
///
/// A directory that is missing, full or read-only does not prevent the start; see `Publisher.warning`.
public enum PublisherError: Error, Equatable, CustomStringConvertible {
    /// A name must be `[a-z0-9]([a-z0-9-]*[a-z0-9])?` with at most 63 characters.
    case invalidName(String)
    /// A recorder of this name is running.
    case nameTaken(String)
    /// At most 16 phases with different names of at most 31 bytes are possible.
    case invalidPhases

    public var description: String {
        switch self {
        case .invalidName(let name):
            "invalid recorder name \"\(name)\": [a-z0-9]([a-z0-9-]*[a-z0-9])?, at most 63 characters"
        case .nameTaken(let name):
            "a recorder named \"\(name)\" is already running on this telemetry directory"
        case .invalidPhases:
            "a shutdown has at most 16 phases with different names of at most 31 bytes"
        }
    }
}

/// A phase of a shutdown with its time limit; declared at the start, so that its series exist from then on.
public struct PhaseBudget: Hashable, Sendable {
    public let name: String
    public let budget: Duration

    public init(_ name: String, budget: Duration) {
        (self.name, self.budget) = (name, budget)
    }
}

/// A change of a publisher's file, for the log and the metrics.
public struct PublisherEvent: Sendable {
    /// Why a new file was needed.
    public enum Cause: String, CaseIterable, Sendable {
        /// The file could not be created at the start.
        case late
        /// The file, or its directory, was removed.
        case removed
        /// Another file, or another directory, has the name.
        case replaced
        /// The file was truncated. What was counted since the last check, at most a second, is lost.
        case truncated
        /// The path could not be looked up for a time; the file is the same as before.
        case unreachable
    }

    public enum Kind: Sendable {
        /// Readers find all counts again.
        case published(after: Cause)
        /// Readers find no file, for this reason; the publisher tries again every second.
        case unpublished(String)
    }

    public let kind: Kind
    /// Whether the same event was reported less than ten minutes ago: it should be counted, but not logged.
    public let isRepeated: Bool

    init(_ kind: Kind, isRepeated: Bool) {
        (self.kind, self.isRepeated) = (kind, isRepeated)
    }
}
