import Posix

/// How a run ended; a value of the label `streamvault_last_shutdown_outcome`.
package enum RunOutcome: UInt32, CaseIterable, Sendable {
    /// It exited, every phase ended with `ok`, and no recording was open.
    case clean = 1
    /// It exited, but a phase failed or exceeded its budget, or a recording was open; or its start failed: it exited with
    /// another status than 0, without a shutdown.
    case degraded
    /// The process ended during its shutdown.
    case killed
    /// The process ended without a shutdown.
    case crashed

    package var label: String { "\(self)" }
}

/// Whether a recorder is running, as a reader of its segment sees it.
package enum Verdict: Hashable, Sendable {
    case alive
    /// Its process is running, but has sent no heartbeat for three intervals and at least ten seconds.
    case hung
    case ended(RunOutcome)

    /// The rule for all readers: an exporter applies it to a running recorder, the next run to the previous one.
    ///
    /// A shutdown without heartbeats does not count as hung before its deadline, or for ten minutes without a deadline: a
    /// restart would lose the files that are being finalized. After that it does, although the lock is held, because any
    /// process that may write to the file can hold the lock.
    ///
    /// - Parameters:
    ///   - lifecycle: what the recorder reports.
    ///   - openRecordings: number of recordings that are being written or finalized.
    ///   - isOwned: whether a process holds the segment's lock.
    ///   - silence: time since the last heartbeat; `nil` if not known.
    ///   - overdue: time since the deadline of the shutdown; `nil` if there is none or it is not known.
    ///   - heartbeatInterval: as the recorder promises it.
    /// - Returns: the verdict.
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

    /// Time without a heartbeat after which a run counts as hung.
    package static func heartbeatTimeout(heartbeatInterval: Duration) -> Duration {
        max(.seconds(10), heartbeatInterval * 3)
    }
}

extension PhaseRecord.State {
    /// A phase that was not entered is no failure: not every shutdown needs every phase.
    fileprivate var isFine: Bool {
        switch self {
        case .pending, .ended(.ok): true
        case .running, .ended(.error), .ended(.timeout): false
        }
    }
}

/// A run as a reader sees it at one moment: its records, its last heartbeat and the verdict.
struct ObservedRun {
    let contents: SegmentContents
    let heartbeat: BootTime
    let rejected: UInt64
    let isOwned: Bool
    let verdict: Verdict
    let now: BootTime
    /// The entry for the history; `nil` while the run is not over.
    let past: PastRun?
    private let clockStep: UInt64

    /// `wall` is the wall clock's time at `now`; without it, wall times are computed from the run's start alone.
    ///
    /// `unchangedFor` is the time since the reader first saw this heartbeat. It replaces the age of the heartbeat where
    /// timestamps cannot be compared: those of another boot or, with `hasOtherClock`, of another time namespace.
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

    /// Wall time of a timestamp, for comparison with the present: during the run, by the clock as it is set now.
    ///
    /// A machine without a battery-backed clock gets its time from the network, possibly minutes after its start.
    func wall(_ time: BootTime) -> WallTime {
        WallTime(nanoseconds: contents.identity.wall(time).nanoseconds &+ clockStep)
    }

    /// The value of `streamvault_recorder_state`.
    var state: ObservedState {
        switch verdict {
        case .hung: .hung
        case .alive: ObservedState(contents.lifecycle.state)
        case .ended(.clean), .ended(.degraded): .stopped
        case .ended(.killed): .killed
        case .ended(.crashed): .crashed
        }
    }

    /// Nanoseconds that the running shutdown has spent in a phase so far.
    func elapsed(_ phase: PhaseRecord) -> UInt64 {
        switch phase.state {
        case .pending: 0
        case .running: now.since(phase.started).wholeNanoseconds
        case .ended: phase.ended.since(phase.started).wholeNanoseconds
        }
    }
}

/// A value of `streamvault_recorder_state`: the state that the recorder reports, or one that only a reader can determine.
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

    /// The latest timestamp in it.
    fileprivate var lastChange: BootTime {
        phases.reduce(max(requestedBoot, endedBoot)) { max($0, $1.started, $1.ended) }
    }
}
