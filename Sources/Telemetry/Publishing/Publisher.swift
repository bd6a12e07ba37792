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
    public let trouble: String?

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
    /// - Throws: `PublisherError`; what is wrong with the directory is no error, but `trouble`.
    public convenience init(
        directory: String,
        name: String,
        version: String,
        heartbeatInterval: Duration = .seconds(1),
        phases: [ShutdownPhase] = [],
        capacity: SegmentCapacity = SegmentCapacity()
    ) throws(PublisherError) {
        try self.init(
            Identity(starting: name, version, heartbeatInterval: heartbeatInterval),
            directory: directory,
            phases: phases,
            capacity: capacity,
            patience: .seconds(2)
        )
        startChecks()
    }

    /// Starts the run that `identity` describes; the caller calls `check` every second or so.
    ///
    /// `patience` is for another start of the name that is under way.
    package convenience init(
        _ identity: Identity,
        directory: String,
        phases: [ShutdownPhase],
        capacity: SegmentCapacity = SegmentCapacity(),
        patience: Duration = .zero
    ) throws(PublisherError) {
        guard Identity.isName(identity.name) else { throw .invalidName(identity.name) }
        guard ShutdownPhase.areValid(phases) else { throw .invalidPhases }
        let plan = RunPlan(
            identity: identity,
            layout: SegmentLayout(capacity),
            phases: phases
        )
        guard let start = plan.start(in: directory, patience: patience) else {
            throw .nameTaken(identity.name)
        }
        self.init(start)
    }

    init(_ start: consuming RunPlan.Start) {
        trouble = start.trouble
        heartbeatCell = start.board.writer.cell(SegmentWord.heartbeat)
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
            var nothing = PollSet()
            while true {
                let next = BootTime.now().advanced(by: .seconds(1))
                while BootTime.now() < next { _ = try? nothing.wait(until: next) }
                guard let segment else { return }
                guard let event = segment.check() else { continue }
                observer.report.withLock { $0 }?(event)
            }
        }
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
    public func enter(_ state: RunState) {
        guard !state.isEnding else { return }
        segment.board.withLock { board in
            guard !board.lifecycle.state.isEnding else { return }
            board.change { $0.state = state }
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
    public func soleCounter(
        _ name: String,
        _ help: String,
        labels: KeyValuePairs<String, String> = [:]
    ) -> SoleCounter {
        SoleCounter(cell: counter(name, help, labels: labels).cell)
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
        return segment.board.withLock { $0.histogram(family, labels.map(\.value)) }
    }

    /// A histogram that only the caller observes into; see `histogram`.
    public func soleHistogram(
        _ name: String,
        _ help: String,
        bounds: [Duration] = [],
        labels: KeyValuePairs<String, String> = [:]
    ) -> SoleHistogram {
        SoleHistogram(shared: histogram(name, help, bounds: bounds, labels: labels))
    }

    /// Takes the series with these label values out of what is shown; declaring it again brings it back.
    public func retire(_ name: String, _ values: [String] = []) {
        segment.board.withLock { $0.declarations.retire(name, values) }
    }

    private func cell(_ family: MetricFamily, _ labels: KeyValuePairs<String, String>) -> Cell {
        segment.board.withLock { $0.cell(family, labels.map(\.value)) }
    }
}
