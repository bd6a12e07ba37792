import Posix
import StreamVaultTelemetry

/// How a recorder is, for the probe that decides whether it lives on.
struct RecorderHealth {
    /// From the best to the worst; the raw value is the status of the health document.
    enum Status: String, Comparable {
        case pass, warn, fail

        static func < (left: Status, right: Status) -> Bool {
            let order: [Status] = [.pass, .warn, .fail]
            return order.firstIndex(of: left) ?? 0 < order.firstIndex(of: right) ?? 0
        }
    }

    let name: String
    let status: Status
    /// What it is doing, in one or two words, such as `stopping`.
    let state: String
    /// Why the status is not `pass`.
    var note: String?
    var shutdown: ShutdownProgress?
    var activeRecordings: Int?
    var heartbeatAge: Duration?
    /// What it says of itself; `nil` when its segment cannot be read.
    private var runState: RunState?

    /// Whether it takes recordings: not yet while it starts, no more once it drains.
    var isReady: Bool { status == .pass && runState == .recording }

    var hasStarted: Bool { runState != .starting }
}

/// A shutdown on its way.
struct ShutdownProgress {
    let phase: String?
    let elapsed: Duration
    /// Until the deadline, 0 beyond it; `nil` when there is none.
    let left: Duration?

    init(_ lifecycle: Lifecycle, now: BootTime) {
        phase = lifecycle.runningPhase.map { lifecycle.phases[$0].name }
        elapsed = now.since(lifecycle.requestedBoot)
        let hasDeadline = lifecycle.deadline.nanoseconds > 0
        left = hasDeadline ? lifecycle.deadline.since(now) : nil
    }
}

/// What the operator decided about doubtful cases.
struct HealthPolicy {
    /// How long no recorder at all is not a failure yet.
    var startupGrace = Duration.seconds(60)
    /// Whether a shutdown beyond its deadline fails; it does not by default, since a restart costs what is being finalized.
    var failsPastDeadline = false
}

extension RecorderHealth {
    /// The rule: never fails a recorder that is finalizing, always one that hangs or has died.
    init(_ known: KnownRecorder, _ policy: HealthPolicy) {
        guard known.failure == nil, let snapshot = known.snapshot else {
            // The exporter is blind, which is no fault of the recorder's.
            let reason = known.failure?.description ?? "not read yet"
            self.init(
                name: known.name,
                status: .warn,
                state: "unknown",
                note: "telemetry: \(reason)"
            )
            return
        }
        switch snapshot.verdict {
        case .alive: self.init(alive: snapshot, policy)
        case .hung:
            self.init(snapshot, .fail, "hung", "no heartbeat, but its process lives")
        case .ended(.clean), .ended(.degraded):
            let lifecycle = snapshot.contents.lifecycle
            let note =
                lifecycle.failedWithoutShutdown
                ? "it exited with status \(lifecycle.exitStatus), without a shutdown: see its log"
                : "it ended by itself"
            self.init(snapshot, .warn, "stopped", note)
        case .ended(.killed):
            let phase = snapshot.past?.fatalPhase?.name ?? "no phase"
            self.init(snapshot, .fail, "killed", "it died while shutting down, in \(phase)")
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
}
