import Posix
import Testing

@testable import StreamVaultTelemetry

@Suite("Metrics derived from the records")
struct DerivedMetricsTests {
    struct Case: CustomTestStringConvertible, Sendable {
        let testDescription: String
        var lifecycle: @Sendable (inout Lifecycle) -> Void = { _ in }
        var recordings = 0
        var lastBeat = 5.0
        var isOwned = true
        var at = 5.0
        /// Cells by name and label values.
        let expected: [String: UInt64]
    }

    static let second = PaperSegment.second
    static let wall = PaperSegment.startedWall.nanoseconds

    /// Asked to stop after 10 s with 60 s to go; `signal` took 1 s, then `recordings` began.
    static func stopInSecondPhase(_ lifecycle: inout Lifecycle) {
        lifecycle.state = .stopping
        lifecycle.requestedBoot = PaperSegment.stamp(10)
        lifecycle.requestedWall = WallTime(nanoseconds: wall + 10 * second)
        lifecycle.gracePeriod = 60 * second
        lifecycle.deadline = PaperSegment.stamp(70)
        lifecycle.phases[0].state = .ended(.ok)
        lifecycle.phases[0].started = PaperSegment.stamp(10)
        lifecycle.phases[0].ended = PaperSegment.stamp(11)
        lifecycle.phases[1].state = .running
        lifecycle.phases[1].started = PaperSegment.stamp(11)
    }

    /// Then `recordings` ended after 3 s, `database` after 0.5 s, and with it the run.
    static func stop(_ outcome: PhaseOutcome, _ lifecycle: inout Lifecycle) {
        stopInSecondPhase(&lifecycle)
        lifecycle.phases[1].state = .ended(outcome)
        lifecycle.phases[1].ended = PaperSegment.stamp(14)
        lifecycle.phases[2].state = .ended(.ok)
        lifecycle.phases[2].started = PaperSegment.stamp(14)
        lifecycle.phases[2].ended = PaperSegment.stamp(14.5)
        lifecycle.state = .stopped
        lifecycle.endedBoot = PaperSegment.stamp(14.5)
        lifecycle.endedWall = WallTime(nanoseconds: wall + 14 * second + second / 2)
    }

    static let cases = [
        Case(
            testDescription: "recording",
            lifecycle: { $0.state = .recording },
            recordings: 2,
            expected: [
                "recorder_up": 1, "recorder_start_time_seconds": wall,
                "recorder_heartbeat_timestamp_seconds": wall + 5 * second,
                "recorder_state recording": 1, "recorder_state starting": 0,
                "recorder_state hung": 0,
                "recorder_runs_total": 1, "recordings_active": 2, "recordings_started_total": 2,
                "recordings_finished_total abandoned": 0, "shutdown_in_progress": 0,
                "shutdown_deadline_timestamp_seconds": 0, "shutdown_phases_total signal ok": 0,
                "crashes_total": 0, "last_shutdown_outcome crashed": 0,
                "last_shutdown_outcome clean": 0,
            ]
        ),
        Case(
            testDescription: "hung",
            lifecycle: { $0.state = .recording },
            recordings: 1,
            at: 16,
            expected: [
                "recorder_up": 1, "recorder_state hung": 1, "recorder_state recording": 0,
                "recordings_active": 1, "crashes_total": 0,
            ]
        ),
        Case(
            testDescription: "crashed",
            lifecycle: { $0.state = .recording },
            recordings: 2,
            isOwned: false,
            at: 100,
            expected: [
                "recorder_up": 0, "recorder_state crashed": 1, "recorder_state recording": 0,
                "recordings_active": 0, "recordings_started_total": 2,
                "recordings_finished_total abandoned": 2, "crashes_total": 1,
                "shutdowns_total killed": 0, "last_shutdown_outcome crashed": 1,
                "last_shutdown_abandoned_recordings": 2, "last_shutdown_duration_seconds": 0,
                "last_shutdown_timestamp_seconds": wall + 5 * second,
            ]
        ),
        Case(
            testDescription: "stopping, in its second phase",
            lifecycle: { stopInSecondPhase(&$0) },
            recordings: 1,
            lastBeat: 12,
            at: 15,
            expected: [
                "recorder_state stopping": 1, "shutdown_in_progress": 1,
                "shutdown_grace_period_seconds": 60 * second,
                "shutdown_start_timestamp_seconds": wall + 10 * second,
                "shutdown_deadline_timestamp_seconds": wall + 70 * second,
                "shutdown_phase_active signal": 0, "shutdown_phase_active recordings": 1,
                "shutdown_phase_elapsed_seconds signal": second,
                "shutdown_phase_elapsed_seconds recordings": 4 * second,
                "shutdown_phase_elapsed_seconds database": 0,
                "shutdown_phase_budget_seconds recordings": 10 * second,
                "shutdown_phases_total signal ok": 1, "shutdown_phases_total recordings ok": 0,
                "shutdown_phases_total recordings killed": 0,
                "shutdown_phase_duration_seconds signal": second, "recordings_active": 1,
                "shutdowns_total killed": 0,
            ]
        ),
        Case(
            testDescription: "killed in its second phase",
            lifecycle: { stopInSecondPhase(&$0) },
            recordings: 1,
            lastBeat: 12,
            isOwned: false,
            at: 100,
            expected: [
                "recorder_up": 0, "recorder_state killed": 1, "shutdown_in_progress": 0,
                "shutdown_grace_period_seconds": 0, "shutdown_phase_active recordings": 0,
                "shutdown_phase_elapsed_seconds recordings": 0,
                "shutdown_phases_total signal ok": 1, "shutdown_phases_total recordings killed": 1,
                "shutdown_phase_duration_seconds recordings": 0, "shutdowns_total killed": 1,
                "shutdown_duration_seconds": 0, "crashes_total": 0,
                "recordings_finished_total abandoned": 1, "last_shutdown_outcome killed": 1,
                "last_shutdown_duration_seconds": 2 * second,
                "last_shutdown_phase_duration_seconds signal": second,
                "last_shutdown_phase_duration_seconds recordings": second,
                "last_shutdown_abandoned_recordings": 1,
                "last_shutdown_timestamp_seconds": wall + 10 * second,
            ]
        ),
        Case(
            testDescription: "stopped, clean",
            lifecycle: { stop(.ok, &$0) },
            lastBeat: 14.5,
            isOwned: false,
            at: 100,
            expected: [
                "recorder_state stopped": 1, "shutdowns_total clean": 1,
                "shutdowns_total degraded": 0, "shutdown_duration_seconds": 4 * second + second / 2,
                "shutdown_phases_total recordings ok": 1, "shutdown_phases_total database ok": 1,
                "last_shutdown_outcome clean": 1,
                "last_shutdown_grace_used_ratio": (4.5 / 60).bitPattern,
                "last_shutdown_phase_duration_seconds database": second / 2,
                "last_shutdown_abandoned_recordings": 0,
            ]
        ),
        Case(
            testDescription: "stopped, and its process not yet gone",
            lifecycle: { stop(.ok, &$0) },
            lastBeat: 14.5,
            at: 15,
            expected: [
                "recorder_up": 1, "recorder_state stopped": 1, "shutdowns_total clean": 1,
                "shutdown_in_progress": 0, "last_shutdown_outcome clean": 1,
            ]
        ),
        Case(
            testDescription: "stopped, a phase out of time",
            lifecycle: { stop(.timeout, &$0) },
            lastBeat: 14.5,
            isOwned: false,
            at: 100,
            expected: [
                "shutdowns_total clean": 0, "shutdowns_total degraded": 1,
                "shutdown_phases_total recordings timeout": 1,
                "shutdown_phases_total recordings ok": 0, "last_shutdown_outcome degraded": 1,
            ]
        ),
        Case(
            testDescription: "stopped, a recording left behind",
            lifecycle: { stop(.ok, &$0) },
            recordings: 1,
            lastBeat: 14.5,
            isOwned: false,
            at: 100,
            expected: [
                "shutdowns_total degraded": 1, "recordings_finished_total abandoned": 1,
                "last_shutdown_abandoned_recordings": 1, "recordings_active": 0,
            ]
        ),
        Case(
            testDescription: "stopped without having been asked",
            lifecycle: { lifecycle in
                lifecycle.state = .stopped
                lifecycle.endedBoot = PaperSegment.stamp(5)
            },
            isOwned: false,
            expected: [
                "shutdowns_total clean": 1, "shutdown_duration_seconds": 0,
                "last_shutdown_duration_seconds": 0,
                "last_shutdown_timestamp_seconds": wall + 5 * second,
            ]
        ),
    ]

    @Test("follow from the lifecycle", arguments: cases)
    func cells(_ one: Case) throws {
        let segment = PaperSegment()
        for index in 0..<one.recordings {
            let recording = OpenRecording(
                id: UInt64(index),
                stream: "s\(index)",
                path: "/s\(index)",
                container: "ts",
                state: .recording,
                startedBoot: PaperSegment.stamp(1),
                startedWall: WallTime(nanoseconds: Self.wall + Self.second)
            )
            _ = segment.state.open(recording)
        }
        segment.state.change(one.lifecycle)
        segment.beat(at: one.lastBeat)
        let snapshot = try segment.snapshot(isOwned: one.isOwned, at: one.at)
        for (name, expected) in one.expected {
            let words = name.split(separator: " ").map(String.init)
            let value =
                switch words.count {
                case 1: snapshot.value(words[0])
                case 2: snapshot.value(words[0], words[1])
                default: snapshot.value(words[0], words[1], words[2])
                }
            #expect(value == expected, "\(name)")
        }
    }

    @Test("shutdowns without a request are not in the histogram of durations")
    func unaskedEnd() throws {
        let segment = PaperSegment()
        segment.state.change { $0.state = .stopped }
        let snapshot = try segment.snapshot(isOwned: false, at: 5)
        #expect(snapshot.cells("shutdown_duration_seconds").allSatisfy { $0 == 0 })
    }

    @Test("a duration is counted in the first bucket whose bound is not lower")
    func buckets() throws {
        let segment = PaperSegment()
        segment.state.change { Self.stop(.ok, &$0) }
        let snapshot = try segment.snapshot(isOwned: false, at: 100)
        let buckets = snapshot.buckets("shutdown_phase_duration_seconds", "recordings")
        let bucket = try #require(RunMetrics.durationBounds.firstIndex { $0 >= 3 * Self.second })
        #expect(
            snapshot.cells("shutdown_phase_duration_seconds", "recordings").first
                == 3 * Self.second
        )
        #expect(buckets[bucket] == 1)
        #expect(buckets.reduce(0, +) == 1)
    }

    @Test("the verdict on a run of another boot does not depend on its timestamps")
    func otherBoot() throws {
        let segment = PaperSegment()
        segment.state.change { $0.state = .recording }
        let other = BootID(bytes: [UInt8](repeating: 8, count: 16))
        let owned = try segment.snapshot(isOwned: true, at: 10_000, bootID: other)
        #expect(owned.verdict == .alive)
        let dead = try segment.snapshot(isOwned: false, at: -500, bootID: other)
        #expect(dead.verdict == .ended(.crashed))
        #expect(dead.value("last_shutdown_timestamp_seconds") == Self.wall)
    }

    @Test(
        "timestamps that are compared with the present follow the wall clock while the run is not over",
        arguments: [
            // The time at 20 s after the start, the seconds that are added; less than half of one is none.
            (20.0, true, 0), (20.4, true, 0), (19.6, true, 0), (3620.0, true, 3600),
            (3620.4, true, 3600), (-80.0, true, -100), (3620.0, false, 0),
        ]
    )
    func clockThatWasSet(_ time: Double, _ isOwned: Bool, _ step: Int) throws {
        let segment = PaperSegment()
        segment.state.change { Self.stopInSecondPhase(&$0) }
        segment.beat(at: 12)
        let slot = segment.state.open(
            OpenRecording(
                id: 1,
                stream: "a",
                path: "/a",
                container: "ts",
                state: .recording,
                startedBoot: PaperSegment.stamp(4),
                startedWall: WallTime(nanoseconds: Self.wall + 4 * Self.second)
            )
        )
        segment.state.bytesCell(slot).following(1).store(PaperSegment.stamp(11).nanoseconds)
        let now = WallTime(nanoseconds: Self.wall &+ UInt64(bitPattern: Int64(time * 1e9)))
        let snapshot = try segment.snapshot(isOwned: isOwned, at: 20, wall: now)
        let start = Self.wall &+ UInt64(bitPattern: Int64(step) * Int64(Self.second))
        #expect(snapshot.value("recorder_start_time_seconds") == Self.wall)
        #expect(
            snapshot.value("recorder_heartbeat_timestamp_seconds") == start + 12 * Self.second
        )
        guard isOwned else { return }
        #expect(
            snapshot.value("shutdown_deadline_timestamp_seconds") == start + 70 * Self.second
        )
        #expect(
            snapshot.value("recording_last_write_timestamp_seconds", "a")
                == start + 11 * Self.second
        )
        #expect(snapshot.value("recording_start_time_seconds", "a") == Self.wall + 4 * Self.second)
    }

    @Test("the gauges of a stream are those of its newest recording, and disappear with it")
    func streamGauges() throws {
        let segment = PaperSegment()
        let slots = [4.0, 2.0].map { started in
            segment.state.open(
                OpenRecording(
                    id: UInt64(started),
                    stream: "a",
                    path: "/a",
                    container: "ts",
                    state: .recording,
                    startedBoot: PaperSegment.stamp(started),
                    startedWall: WallTime(nanoseconds: Self.wall + UInt64(started) * Self.second)
                )
            )
        }
        segment.state.bytesCell(slots[0]).add(111)
        segment.state.bytesCell(slots[1]).add(222)
        let both = try segment.snapshot(isOwned: true, at: 5)
        #expect(both.value("recording_written_bytes", "a") == 111)
        #expect(both.value("recording_start_time_seconds", "a") == Self.wall + 4 * Self.second)
        #expect(
            both.value("recording_last_write_timestamp_seconds", "a") == Self.wall + 4 * Self.second
        )
        segment.state.close(slots[0], .completed)
        #expect(
            try segment.snapshot(isOwned: true, at: 5).value("recording_written_bytes", "a") == 222
        )
        segment.state.close(slots[1], .completed)
        let none = try segment.snapshot(isOwned: true, at: 5)
        #expect(none.value("recording_written_bytes", "a") == nil)
        #expect(none.value("recordings_finished_total", "completed") == 2)
    }
}
