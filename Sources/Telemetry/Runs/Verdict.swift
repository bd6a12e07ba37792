import Posix

/// How a run ended; the name is the label of `streamvault_last_shutdown_outcome`.
package enum RunOutcome: UInt32, CaseIterable, Sendable {
    /// By itself, every phase ok, no recording left behind.
    case clean = 1
    /// By itself, but a phase failed or ran out of its budget, or a recording was left behind; or with an exit status that is
    /// not 0 and without a shutdown, as when its start failed.
    case degraded
    /// It died after its shutdown had begun.
    case killed
    /// It died without one.
    case crashed

    package var label: String { "\(self)" }
}

/// What is the case with a recorder, judged from outside.
package enum Verdict: Hashable, Sendable {
    case alive
    /// Its process lives, its loop does not: no heartbeat for three intervals and at least ten seconds.
    case hung
    case ended(RunOutcome)

    /// The one rule, used by an exporter on a living run and by the next run on a dead one.
    ///
    /// A shutdown that is silent is not judged before its deadline, or for ten minutes where it has none: a restart would
    /// cost what is being finalized. Later it counts as hung, since a lock proves no life: anybody who may write to the file
    /// can hold one.
    ///
    /// `isOwned` says whether a process holds the segment's lock. `silence` is the time since the last sign of life, and
    /// `overdue` the time since the deadline of the shutdown; `nil` when it is not known.
    package static func judge(
        _ lifecycle: Lifecycle,
        openRecordings: Int,
        isOwned: Bool,
        silence: Duration?,
        overdue: Duration? = nil,
        heartbeatInterval: Duration
    ) -> Verdict {
        let timeout = Self.heartbeatTimeout(heartbeatInterval: heartbeatInterval)
        let isSilent = silence ?? .zero > timeout
        switch lifecycle.state {
        case .stopped:
            let isClean =
                lifecycle.phases.allSatisfy { $0.state.isFine } && openRecordings == 0
                && !lifecycle.failedWithoutShutdown
            return .ended(isClean ? .clean : .degraded)
        case .stopping:
            guard isOwned else { return .ended(.killed) }
            let isOver = overdue.map { $0 > timeout } ?? (silence ?? .zero > .seconds(600))
            return isSilent && isOver ? .hung : .alive
        case .starting, .recording, .draining:
            guard isOwned else { return .ended(.crashed) }
            return isSilent ? .hung : .alive
        }
    }

    /// How long a run may be without a heartbeat before it counts as hung.
    package static func heartbeatTimeout(heartbeatInterval: Duration) -> Duration {
        max(.seconds(10), heartbeatInterval * 3)
    }
}

extension PhaseRecord.State {
    /// A phase that was never entered is fine: not every shutdown needs every phase.
    fileprivate var isFine: Bool {
        switch self {
        case .pending, .ended(.ok): true
        case .running, .ended(.error), .ended(.timeout): false
        }
    }
}

/// A run as it is seen at one moment: its records, its last sign of life, and the verdict.
struct ObservedRun {
    let contents: SegmentContents
    let heartbeat: BootTime
    let rejected: UInt64
    let isOwned: Bool
    let verdict: Verdict
    let now: BootTime
    /// The run as history will have it, once it is over.
    let past: PastRun?
    private let clockStep: UInt64

    /// `wall` is the wall clock's time at `now`; without it the run's own start dates all stamps.
    ///
    /// `unchangedFor` is for how long the reader has seen this same heartbeat: the only measure where the stamps are of
    /// another boot or, with `hasOtherClock`, of another time namespace.
    init(
        _ contents: SegmentContents,
        heartbeat: BootTime,
        rejected: UInt64,
        isOwned: Bool,
        now: BootTime,
        wall: WallTime?,
        bootID: BootID,
        unchangedFor: Duration?,
        hasOtherClock: Bool = false
    ) {
        let identity = contents.identity
        let hasSameClock = identity.bootID == bootID && !hasOtherClock
        (self.contents, self.rejected, self.isOwned, self.now) = (contents, rejected, isOwned, now)
        self.heartbeat = max(heartbeat, identity.startedBoot)
        let step = wall.map { identity.clockStep(at: now, showing: $0) }
        clockStep = isOwned && hasSameClock ? step ?? 0 : 0
        verdict = Verdict.judge(
            contents.lifecycle,
            openRecordings: contents.recordings.count,
            isOwned: isOwned,
            silence: hasSameClock ? now.since(self.heartbeat) : unchangedFor,
            overdue: hasSameClock ? contents.lifecycle.overdue(at: now) : nil,
            heartbeatInterval: .nanoseconds(identity.heartbeatInterval)
        )
        guard case .ended(let end) = verdict else {
            past = nil
            return
        }
        past = PastRun(
            identity,
            contents.lifecycle,
            end: end,
            lastSeen: max(self.heartbeat, contents.lifecycle.lastChange),
            abandoned: contents.recordings.count
        )
    }

    /// Wall time of a stamp that others compare with the present: while the run lives, by the clock as it is set now.
    ///
    /// A machine without a battery gets its time from the network, and maybe minutes after its start.
    func wall(_ time: BootTime) -> WallTime {
        WallTime(nanoseconds: contents.identity.wall(time).nanoseconds &+ clockStep)
    }

    /// The state that is shown.
    var state: ObservedState {
        switch verdict {
        case .hung: .hung
        case .alive: ObservedState(contents.lifecycle.state)
        case .ended(.clean), .ended(.degraded): .stopped
        case .ended(.killed): .killed
        case .ended(.crashed): .crashed
        }
    }

    /// Nanoseconds that a phase of the running shutdown has taken so far.
    func elapsed(_ phase: PhaseRecord) -> UInt64 {
        switch phase.state {
        case .pending: 0
        case .running: now.since(phase.started).wholeNanoseconds
        case .ended: phase.ended.since(phase.started).wholeNanoseconds
        }
    }
}

/// A value of `streamvault_recorder_state`: what the recorder says of itself, or what can be seen from outside only.
enum ObservedState: Int, CaseIterable {
    case starting, recording, draining, stopping, stopped, killed, crashed, hung

    init(_ state: RunState) {
        switch state {
        case .starting: self = .starting
        case .recording: self = .recording
        case .draining: self = .draining
        case .stopping: self = .stopping
        case .stopped: self = .stopped
        }
    }
}

extension Lifecycle {
    /// Time since the deadline of the shutdown; `nil` without one.
    fileprivate func overdue(at now: BootTime) -> Duration? {
        deadline.nanoseconds > 0 ? now.since(deadline) : nil
    }

    /// The latest stamp in it.
    fileprivate var lastChange: BootTime {
        phases.reduce(max(requestedBoot, endedBoot)) { max($0, $1.started, $1.ended) }
    }
}
