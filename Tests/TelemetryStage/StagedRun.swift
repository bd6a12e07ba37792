import Posix

@testable import StreamVaultTelemetry

/// A run with stamps of the past: what a recorder would have published if it had been there.
///
/// It lives as long as the object, and dies with it.
package final class StagedRun {
    private var state: PublisherState
    /// Holds the lock.
    private let start: RunSettings.Start
    private let identity: RunIdentity
    /// What "now" is to this run.
    private let boot: BootTime
    private let wall: WallTime
    private var openRecordings: [UInt64: Int] = [:]

    struct Unstaged: Error {}

    /// Starts a run that began `age` ago; or so long before its last moment, which was `ended` ago.
    init(
        _ name: String,
        in directory: String,
        age: Duration,
        ended: Duration = .zero,
        version: String = "1.4.2",
        phases: [PhaseBudget] = StagedRun.phases
    ) throws {
        // The machine may be younger than a run that is over.
        boot = ended == .zero ? .now() : BootTime(nanoseconds: 1_000_000_000_000_000)
        wall = WallTime(nanoseconds: WallTime.now().nanoseconds - ended.wholeNanoseconds)
        var identity = RunIdentity(starting: name, version, heartbeatInterval: .seconds(1))
        identity.startedBoot = boot.before(age)
        identity.startedWall = wall.before(boot.since(identity.startedBoot))
        let plan = RunSettings(
            identity: identity,
            layout: SegmentLayout(SegmentCapacity()),
            phases: phases
        )
        guard let start = plan.start(in: directory), start.warning == nil else { throw Unstaged() }
        state = start.state
        self.start = start
        self.identity = identity
        beat()
    }

    deinit { start.file?.unlock() }

    /// The phases of `streamvault-recorder`.
    static let phases = [
        PhaseBudget("signal", budget: .milliseconds(500)),
        PhaseBudget("recordings", budget: .seconds(30)),
        PhaseBudget("broadcaster", budget: .seconds(1)),
        PhaseBudget("cleanup", budget: .seconds(1)),
        PhaseBudget("eventsub", budget: .seconds(1)),
        PhaseBudget("database", budget: .seconds(5)),
    ]

    /// Sets the last sign of life.
    func beat(_ ago: Duration = .zero) {
        state.writer.store(boot.before(ago).nanoseconds, word: SegmentWord.heartbeat)
    }

    /// Says that it lives, now, unless it has said goodbye.
    package func liveOn() {
        guard state.lifecycle.state != .stopped else { return }
        state.writer.store(BootTime.now().nanoseconds, word: SegmentWord.heartbeat)
    }

    func enter(_ runState: RunState) {
        state.change { $0.state = runState }
    }

    func record(
        _ id: UInt64,
        _ stream: String,
        since age: Duration,
        bytes: UInt64,
        lastWrite: Duration = .milliseconds(300),
        path: String? = nil
    ) {
        let recording = OpenRecording(
            id: id,
            stream: stream,
            path: path ?? "/recordings/\(stream)-\(id).ts.part",
            container: "ts",
            state: .recording,
            startedBoot: boot.before(age),
            startedWall: wall.before(boot.since(boot.before(age)))
        )
        let slot = state.open(recording)
        openRecordings[id] = slot
        let cell = state.bytesCell(slot)
        cell.store(bytes)
        if bytes > 0 { cell.following(1).store(boot.before(lastWrite).nanoseconds) }
    }

    func finalize(_ id: UInt64) {
        if let slot = openRecordings[id] { state.finalize(slot) }
    }

    func close(_ id: UInt64, _ result: RecordingResult) {
        state.close(openRecordings.removeValue(forKey: id), result)
    }

    /// A shutdown that began `ago`, with the phases that have run since, each as long as it took.
    ///
    /// A phase without an outcome is the last one, and runs still.
    func shutDown(
        _ ago: Duration,
        grace: Duration? = .seconds(60),
        signal: UInt32 = 15,
        _ steps: [(PhaseOutcome?, Duration)]
    ) {
        state.change { lifecycle in
            lifecycle.state = .stopping
            lifecycle.signal = signal
            (lifecycle.requestedBoot, lifecycle.requestedWall) = (
                boot.before(ago), wall.before(ago)
            )
            lifecycle.gracePeriod = grace?.wholeNanoseconds ?? 0
            if let grace { lifecycle.deadline = lifecycle.requestedBoot.advanced(by: grace) }
            var moment = lifecycle.requestedBoot
            for (index, (outcome, duration)) in steps.enumerated() {
                lifecycle.phases[index].started = moment
                moment = moment.advanced(by: duration)
                lifecycle.phases[index].state = outcome.map { .ended($0) } ?? .running
                if outcome != nil { lifecycle.phases[index].ended = moment }
            }
        }
    }

    /// The last word, at the end of the last phase.
    func finish(exitStatus: Int32) {
        state.change { lifecycle in
            lifecycle.state = .stopped
            lifecycle.exitStatus = exitStatus
            lifecycle.endedBoot = lifecycle.phases.map(\.ended).max() ?? lifecycle.requestedBoot
            lifecycle.endedWall = identity.wall(lifecycle.endedBoot)
        }
        state.writer.store(state.lifecycle.endedBoot.nanoseconds, word: SegmentWord.heartbeat)
    }
}

extension BootTime {
    /// As early as the clock's zero.
    fileprivate func before(_ duration: Duration) -> BootTime {
        BootTime(nanoseconds: nanoseconds - min(nanoseconds - 1, duration.wholeNanoseconds))
    }
}

extension WallTime {
    fileprivate func before(_ duration: Duration) -> WallTime {
        WallTime(nanoseconds: nanoseconds - duration.wholeNanoseconds)
    }
}
