import Posix
import Synchronization

/// Publishes what a recorder does into its telemetry segment, for an exporter to serve.
///
/// Publishing a value is a store or an addition in shared memory: it does not block, allocate, lock or fail. Declaring
/// metrics, recordings and the shutdown take a short lock of this process. Nothing here throws but the start.
///
/// Keep it for the life of the process, and make one only: the memory that handles point to is never given back, and
/// with the publisher goes the lock that says that the recorder lives.
///
/// A thread of its own checks the file every second, and publishes in a new one when it was removed, replaced or cut, or
/// could not be made at the start: see `onEvent`. It handles SIGBUS and SIGSEGV in its own memory, and passes all others on
/// to the handlers that were there before.
public final class Publisher: Sendable {
    /// What is wrong, in one line, for the log; `nil` when all is well.
    ///
    /// A directory that is missing, full or read-only must not cost a recording: the publisher then works on private
    /// memory, and nobody sees what it publishes until a later attempt succeeds. Or the segment of the run before could not
    /// be read, and its counts are lost.
    public let warning: String?

    let segment: PublishedSegment
    private let heartbeatCell: Cell
    /// The same for this process, which the file's surroundings cannot change.
    private let lastHeartbeat = Atomic<UInt64>(0)
    private let observer: Observer

    /// Who is told of events; the thread has it, too.
    private final class Observer: Sendable {
        let report = Mutex<(@Sendable (PublisherEvent) -> Void)?>(nil)
    }

    /// Starts a run: finds how the one before it ended, takes over its counts, and gives the segment its name.
    ///
    /// - Parameters:
    ///   - directory: shared with the exporter; the file is `NAME.telemetry` in it.
    ///   - name: names the recorder, its file, and the label `recorder`.
    ///   - version: the recorder's own, for `streamvault_recorder_info`.
    ///   - heartbeatInterval: promises a call of `heartbeat()` that often.
    ///   - phases: of the shutdown, in their order.
    ///   - capacity: how much the segment can hold.
    /// - Throws: `PublisherError`; what is wrong with the directory is no error, but `warning`.
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

    /// Starts the run that `identity` describes; the caller calls `check` every second or so.
    ///
    /// `timeout` is for another start of the name that is under way.
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

    /// Sets who is told when the file had to be published anew, or cannot be; on a thread of the publisher.
    public func onEvent(_ report: @escaping @Sendable (PublisherEvent) -> Void) {
        observer.report.withLock { $0 = report }
    }

    /// Looks whether readers find the file, and publishes in a new one where they do not; `nil` when nothing is new.
    package func check() -> PublisherEvent? { segment.check() }

    /// Checks every second, on a thread that a file system which hangs can hold up; without a thread, nobody does.
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

    /// Says that the loop that does the work still turns; not for a timer of its own, or a hang would look healthy.
    public func heartbeat() {
        let now = BootTime.now().nanoseconds
        heartbeatCell.store(now)
        lastHeartbeat.store(now, ordering: .relaxed)
    }

    /// Time since the last heartbeat.
    package var silence: Duration {
        BootTime.now().since(BootTime(nanoseconds: lastHeartbeat.load(ordering: .relaxed)))
    }

    /// Says what the recorder is doing now; the shutdown has calls of its own, and once it began, this one says nothing.
    public func enter(_ runState: RunState) {
        guard !runState.isEnding else { return }
        segment.state.withLock { state in
            guard !state.lifecycle.state.isEnding else { return }
            state.change { $0.state = runState }
        }
    }
}

extension Publisher {
    /// Declares a counter, or finds it; it goes on where the last run left it.
    ///
    /// - Parameters:
    ///   - name: in full, ending in `_total`.
    ///   - help: at most 200 bytes are kept.
    ///   - labels: at most four; values come from closed sets. One name always has the same label names.
    /// - Returns: a handle that any thread may use, also when there was no room, and nobody sees it.
    public func counter(
        _ name: String,
        _ help: String,
        labels: KeyValuePairs<String, String> = [:]
    ) -> Counter {
        let family = MetricFamily(name: name, help: help, kind: .counter, labels: labels.map(\.key))
        return Counter(cell: cell(family, labels))
    }

    /// A counter that only the caller adds to; see `counter`.
    public func singleWriterCounter(
        _ name: String,
        _ help: String,
        labels: KeyValuePairs<String, String> = [:]
    ) -> SingleWriterCounter {
        SingleWriterCounter(cell: counter(name, help, labels: labels).cell)
    }

    /// Declares a gauge, or finds it; it starts at 0 in every run.
    ///
    /// `unit` is the base unit that the name ends in, or empty.
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

    /// Declares a histogram of durations, or finds it; it goes on where the last run left it.
    ///
    /// The name ends in `_seconds`. `bounds` are the classic buckets' upper bounds but `+Inf`, ascending, at most 32;
    /// 1 ms to 120 s where none are given. Those of a native histogram are counted beside them, at no further cost.
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

    /// A histogram that only the caller observes into; see `histogram`.
    public func singleWriterHistogram(
        _ name: String,
        _ help: String,
        bounds: [Duration] = [],
        labels: KeyValuePairs<String, String> = [:]
    ) -> SingleWriterHistogram {
        SingleWriterHistogram(shared: histogram(name, help, bounds: bounds, labels: labels))
    }

    /// Takes the series with these label values out of what is shown; declaring it again brings it back.
    public func retire(_ name: String, _ values: [String] = []) {
        segment.state.withLock { $0.declarations.retire(name, values) }
    }

    private func cell(_ family: MetricFamily, _ labels: KeyValuePairs<String, String>) -> Cell {
        segment.state.withLock { $0.cell(family, labels.map(\.value)) }
    }
}

extension Publisher {
    /// Says that a shutdown has been asked for; its first phase begins with the same write.
    ///
    /// - Parameters:
    ///   - signal: number of the signal, 0 for none.
    ///   - gracePeriod: granted for all of it; `nil` when not known.
    ///   - phases: declared at the start, with the budgets that they now have; names that were not declared are left out.
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

    /// Says that a phase begins; the one that runs ends with `outcome` in the same write and at the same moment.
    ///
    /// A name that was not declared, or whose phase has run, only ends the one that runs.
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

    /// Says that the phase that runs ends, and none follows yet.
    public func endPhase(_ outcome: PhaseOutcome = .ok) {
        let now = BootTime.now()
        segment.state.withLock { state in
            state.change { lifecycle in
                guard lifecycle.state == .stopping else { return }
                lifecycle.endPhase(outcome, at: now)
            }
        }
    }

    /// The last word: the last phase ends with `outcome`, and the process exits with `exitStatus`, now.
    ///
    /// Only the first one counts; recordings that are still open then are abandoned.
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

    /// Durations of the phases that have ended, by name, in their order: what the log says, to the nanosecond.
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

/// A declared series of a family of any kind.
package enum Instrument: Sendable {
    case counter(Counter)
    case gauge(Gauge)
    case histogram(Histogram)
}

/// What an exporter needs that publishes for others: answers where a recorder is not to be bothered, and its memory back.
extension Publisher {
    /// Whether there is a file that others can read.
    package var isPublished: Bool { segment.isPublished }

    package var lifecycle: Lifecycle { segment.state.withLock { $0.lifecycle } }

    /// Declares a family without a series; `false` when there is no room for it, or its name has another shape.
    package func declare(_ family: MetricFamily) -> Bool {
        segment.state.withLock { state in
            if state.metrics.declare(family) != nil { return true }
            state.metrics.reject()
            return false
        }
    }

    /// Declares a series, or finds it; `nil` when there is no room for it, or the family's name has another shape.
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

    /// The recordings that are open, by their number; of two with the same, one.
    package var openRecordings: [UInt64: RecordingPublisher] {
        segment.state.withLock { state in
            let open = state.openRecordings.map { slot, recording in
                let bytes = state.bytesCell(slot)
                return (recording.id, RecordingPublisher(self, slot: slot, bytes: bytes))
            }
            return Dictionary(open) { first, _ in first }
        }
    }

    /// Gives the memory back: neither the publisher nor a handle of it may be used afterwards.
    @unsafe package func releaseMemory() {
        unsafe segment.release()
    }
}

extension MetricFamily {
    /// Whether a segment can hold it, and an exposition show it.
    package var isPublishable: Bool { FamilyRecord.holds(self) }

    /// Whether a segment can hold a series with these label values.
    package static func holds(_ values: [String]) -> Bool { SeriesRecord.holds(values) }

    /// Whether the name is one that every segment has, derived from the run's records.
    package static func isReserved(_ name: String) -> Bool {
        RunMetrics.fixedFamilies[name] != nil
    }
}

/// Publishes one recording, from its start to its end.
///
/// One thread reports its writes. Of a recording that finds no place (`SegmentCapacity.recordings`), only the end is seen.
public final class RecordingPublisher: Sendable {
    private let publisher: Publisher
    private let slot: Int?
    private let bytes: Cell
    private let hasEnded = Atomic(false)

    init(_ publisher: Publisher, slot: Int?, bytes: Cell) {
        (self.publisher, self.slot, self.bytes) = (publisher, slot, bytes)
    }

    /// Says that media was written just now; nothing after the end, when another recording may have this one's place.
    ///
    /// - Parameter count: bytes since the last call.
    public func wrote(_ count: Int) {
        guard !hasEnded.load(ordering: .relaxed) else { return }
        bytes.addAlone(UInt64(clamping: count))
        bytes.following(1).store(BootTime.now().nanoseconds)
    }

    /// What has been written so far.
    package var bytesWritten: UInt64 { bytes.load() }

    /// Says that the recording goes on in another file.
    public func continues(in path: String, container: String) {
        guard let slot else { return }
        publisher.segment.state.withLock { state in
            guard !hasEnded.load(ordering: .relaxed) else { return }
            state.move(slot, to: path, container: container)
        }
    }

    /// Says that nothing more will be written, and the file is being finalized.
    public func finalizing() {
        guard let slot else { return }
        publisher.segment.state.withLock { state in
            guard !hasEnded.load(ordering: .relaxed) else { return }
            state.finalize(slot)
        }
    }

    /// Says how it ended; a second end changes nothing, nor does one after the publisher's goodbye.
    public func end(_ result: RecordingResult) {
        guard !hasEnded.exchange(true, ordering: .relaxed) else { return }
        publisher.segment.state.withLock { $0.close(slot, result) }
    }
}

extension Publisher {
    /// Says that a recording has started.
    ///
    /// - Parameters:
    ///   - id: the recorder's own number for it.
    ///   - stream: its name in the configuration, at most 64 bytes: the label `stream`.
    ///   - path: the file that is being written; at most 256 bytes are kept.
    ///   - container: such as `ts`, at most 8 bytes.
    /// - Returns: what its writes and its end are reported to.
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

/// Why a publisher does not start.
///
/// A directory that is missing, full or read-only is no reason: see `Publisher.warning`.
public enum PublisherError: Error, Equatable, CustomStringConvertible {
    /// Names are `[a-z0-9]([a-z0-9-]*[a-z0-9])?`, at most 63 characters.
    case invalidName(String)
    /// A recorder of this name is running.
    case nameTaken(String)
    /// At most 16 phases, each with a different name of at most 31 bytes.
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

/// A phase of a shutdown, declared at the start, so that its series exist before anything happens.
public struct PhaseBudget: Hashable, Sendable {
    public let name: String
    public let budget: Duration

    public init(_ name: String, budget: Duration) {
        (self.name, self.budget) = (name, budget)
    }
}

/// What became of a publisher's file while it ran, for its log and its metrics.
public struct PublisherEvent: Sendable {
    /// Why a new file was needed.
    public enum Cause: String, CaseIterable, Sendable {
        /// Nothing could be published at the start.
        case late
        /// The file, or its directory, was removed.
        case removed
        /// Another file, or another directory, has the name.
        case replaced
        /// The file was cut. What was counted since the last check, up to a second before, is lost.
        case truncated
        /// The file could not be looked up; it is the same as before.
        case unreachable
    }

    public enum Kind: Sendable {
        /// Readers find all counts again.
        case published(after: Cause)
        /// Readers find nothing, for this reason; the publisher tries again every second.
        case unpublished(String)
    }

    public let kind: Kind
    /// Whether the same was reported less than ten minutes ago: to be counted, not logged.
    public let isRepeated: Bool

    init(_ kind: Kind, isRepeated: Bool) {
        (self.kind, self.isRepeated) = (kind, isRepeated)
    }
}
