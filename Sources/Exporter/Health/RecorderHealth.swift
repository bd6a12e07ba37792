import JSON
import Posix
import StreamVaultTelemetry

/// The operator's decisions about doubtful cases.
struct HealthPolicy {
    /// How long the absence of any recorder is not a failure.
    var startupGrace = Duration.seconds(60)
    /// Whether a shutdown past its deadline fails; not by default, because a restart loses the files being finalized.
    var failsPastDeadline = false
}

/// The health of a recorder, for the probe that decides whether it is restarted.
struct RecorderHealth {
    /// From best to worst; the raw value is the status in the health document.
    enum Status: String, Comparable {
        case pass, warn, fail

        static func < (left: Status, right: Status) -> Bool {
            let order: [Status] = [.pass, .warn, .fail]
            return order.firstIndex(of: left) ?? 0 < order.firstIndex(of: right) ?? 0
        }
    }

    let name: String
    let status: Status
    /// The recorder's state in one or two words, such as `stopping`.
    let state: String
    /// Why the status is not `pass`.
    var note: String?
    var shutdown: ShutdownProgress?
    var activeRecordings: Int?
    var heartbeatAge: Duration?
    /// The state that it publishes; `nil` when its segment cannot be read.
    private var runState: RunState?

    /// Whether it accepts recordings: not before it has started, and not while it drains.
    var isReady: Bool { status == .pass && runState == .recording }

    var hasStarted: Bool { runState != .starting }

    /// Never fails a recorder that is finalizing, and always one that hangs or has died.
    init(_ recorder: KnownRecorder, _ policy: HealthPolicy) {
        guard recorder.failure == nil, let snapshot = recorder.snapshot else {
            // A problem of the exporter is not one of the recorder.
            let reason = recorder.failure?.description ?? "not read yet"
            self.init(
                name: recorder.name,
                status: .warn,
                state: "unknown",
                note: "telemetry: \(reason)"
            )
            return
        }
        switch snapshot.verdict {
        case .alive: self.init(alive: snapshot, policy)
        case .hung:
            self.init(snapshot, .fail, "hung", "no heartbeat, but its process is alive")
        case .ended(.clean), .ended(.degraded):
            let lifecycle = snapshot.contents.lifecycle
            let note =
                lifecycle.failedWithoutShutdown
                ? "it exited with status \(lifecycle.exitStatus), without a shutdown: see its log"
                : "it exited"
            self.init(snapshot, .warn, "stopped", note)
        case .ended(.killed):
            let phase = snapshot.past?.fatalPhase?.name ?? "no phase"
            self.init(snapshot, .fail, "killed", "it died during its shutdown, in \(phase)")
        case .ended(.crashed):
            self.init(snapshot, .fail, "crashed", "it died without a shutdown")
        }
        heartbeatAge = snapshot.takenAt.since(snapshot.heartbeat)
        runState = snapshot.contents.lifecycle.state
        activeRecordings = snapshot.past == nil ? snapshot.contents.recordings.count : 0
    }

    private init(alive snapshot: Snapshot, _ policy: HealthPolicy) {
        let lifecycle = snapshot.contents.lifecycle
        guard lifecycle.isShuttingDown else {
            self.init(snapshot, .pass, "\(lifecycle.state)", nil)
            return
        }
        let progress = ShutdownProgress(lifecycle, now: snapshot.takenAt)
        let isLate = progress.left == .zero
        let fails = isLate && policy.failsPastDeadline
        let note = isLate ? "shutting down, past its deadline" : "shutting down"
        self.init(snapshot, fails ? .fail : .warn, "stopping", note)
        shutdown = progress
    }

    private init(_ snapshot: Snapshot, _ status: Status, _ state: String, _ note: String?) {
        self.init(
            name: snapshot.contents.identity.name,
            status: status,
            state: state,
            note: note
        )
    }

    private init(name: String, status: Status, state: String, note: String?) {
        (self.name, self.status, self.state, self.note) = (name, status, state, note)
    }
}

/// The progress of a shutdown.
struct ShutdownProgress {
    let phase: String?
    let elapsed: Duration
    /// Until the deadline, 0 after it; `nil` when there is none.
    let left: Duration?

    init(_ lifecycle: Lifecycle, now: BootTime) {
        phase = lifecycle.runningPhase.map { lifecycle.phases[$0].name }
        elapsed = now.since(lifecycle.requestedBoot)
        let hasDeadline = lifecycle.deadline.nanoseconds > 0
        left = hasDeadline ? lifecycle.deadline.since(now) : nil
    }
}

/// The health of all recorders of a directory: the worst one determines the status.
struct HealthReport {
    let recorders: [RecorderHealth]
    /// Whether the exporter has started so recently that a recorder may still appear.
    let isWithinStartupGrace: Bool
    /// Why recorders may exist that the exporter cannot see; `nil` when the directory is readable.
    let directoryError: SystemError?
    /// Whether a recorder has been read since the exporter's start, even if its telemetry has been removed.
    let hasSeenRecorder: Bool

    /// `uptime` is the exporter's, which may start before the recorder.
    init(
        _ known: [KnownRecorder],
        directoryError: SystemError? = nil,
        hasSeenRecorder: Bool = false,
        uptime: Duration,
        _ policy: HealthPolicy
    ) {
        recorders = known.map { RecorderHealth($0, policy) }
        isWithinStartupGrace = uptime <= policy.startupGrace
        (self.directoryError, self.hasSeenRecorder) = (directoryError, hasSeenRecorder)
    }

    var status: RecorderHealth.Status {
        recorders.map(\.status).max() ?? (toleratesNoRecorder ? .warn : .fail)
    }

    /// Why there is no recorder.
    var noRecorderReason: String {
        if let directoryError { return "telemetry: \(directoryError)" }
        return hasSeenRecorder
            ? "the telemetry of every recorder has been removed"
            : "no recorder has published telemetry yet"
    }

    /// Whether no recorder is not a failure: when the exporter cannot see a recorder, that is no reason to restart it.
    var toleratesNoRecorder: Bool {
        isWithinStartupGrace || directoryError != nil || hasSeenRecorder
    }

    /// 200 for pass and warn, 503 for fail: the status that a liveness probe checks.
    var httpStatus: Int { status == .fail ? 503 : 200 }

    /// The document, with the names of the Health Check Response Format (draft-inadarei-api-health-check-06).
    var json: JSONValue {
        var report: JSONValue = ["status": .string(status.rawValue)]
        if recorders.isEmpty { report["output"] = .string(noRecorderReason) }
        report["recorders"] = .array(recorders.map(\.json))
        return report
    }
}

extension RecorderHealth {
    fileprivate var json: JSONValue {
        var health: JSONValue = [
            "recorder": .string(name), "status": .string(status.rawValue), "state": .string(state),
        ]
        health["output"] = note.map { .string($0) }
        health["active_recordings"] = activeRecordings.map { .integer($0) }
        health["heartbeat_age_seconds"] = heartbeatAge.map { .double($0.inSeconds) }
        if let shutdown {
            health["phase"] = shutdown.phase.map { .string($0) } ?? .null
            health["elapsed_seconds"] = .double(shutdown.elapsed.inSeconds)
            health["left_seconds"] = shutdown.left.map { .double($0.inSeconds) } ?? .null
        }
        return health
    }
}
