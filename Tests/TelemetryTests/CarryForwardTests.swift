import Posix
import Testing

@testable import StreamVaultTelemetry

@Suite("Counts that continue in the next run")
struct CarryForwardTests {
    enum End: CaseIterable, Sendable {
        case clean, degraded, killed, crashed

        var outcome: RunOutcome {
            switch self {
            case .clean: .clean
            case .degraded: .degraded
            case .killed: .killed
            case .crashed: .crashed
            }
        }
    }

    /// One run that counts `amount`, and its end.
    private func run(_ directory: TemporaryDirectory, amount: UInt64, _ end: End) throws {
        let publisher = try directory.start()
        publisher.enter(.recording)
        publisher.counter("test_total", "Test.", labels: ["end": "\(end)"]).add(amount)
        publisher.histogram("test_seconds", "Test.", bounds: [.nanoseconds(5)]).observe(amount)
        publisher.gauge("test_level", "Test.").set(5)
        publisher.startRecording(id: 1, stream: "a", path: "/a", container: "ts").end(.completed)
        switch end {
        case .clean, .degraded:
            publisher.beginShutdown(signal: 15, gracePeriod: nil)
            publisher.beginPhase("database", after: end == .clean ? .ok : .timeout)
            publisher.finish(exitStatus: 0)
        case .killed:
            _ = publisher.startRecording(id: 2, stream: "a", path: "/a", container: "ts")
            publisher.beginShutdown(signal: 15, gracePeriod: .seconds(30))
        case .crashed:
            _ = publisher.startRecording(id: 2, stream: "a", path: "/a", container: "ts")
        }
    }

    static let sequences = End.allCases.flatMap { first in
        End.allCases.flatMap { second in End.allCases.map { [first, second, $0] } }
    }

    @Test(
        "each end is counted once, before and after the next start",
        arguments: sequences
    )
    func sequence(_ ends: [End]) throws {
        let directory = try TemporaryDirectory()
        var reader = SegmentReader(path: directory.segmentPath())
        for (index, end) in ends.enumerated() {
            try run(directory, amount: UInt64(index + 1), end)
            let dead = try reader.snapshot()
            #expect(dead.verdict == .ended(end.outcome))
            let next = try directory.start()
            let live = try reader.snapshot()
            var expected = dead.counts
            expected["streamvault_recorder_runs_total"]?[0] += 1
            #expect(live.counts == expected)
            #expect(live.history == dead.history)
            #expect(live.value("test_level") == nil)
            next.finish(exitStatus: 0)
        }
        let last = try reader.snapshot()
        for outcome in End.allCases where outcome != .crashed {
            let own = outcome == .clean ? UInt64(ends.count) : 0  // The runs between.
            #expect(
                last.value("shutdowns_total", "\(outcome)")
                    == own + UInt64(ends.count { $0 == outcome })
            )
        }
        let deaths = UInt64(ends.count { $0 == .killed || $0 == .crashed })
        #expect(last.value("crashes_total") == UInt64(ends.count { $0 == .crashed }))
        #expect(last.value("recordings_finished_total", "abandoned") == deaths)
        #expect(last.value("recordings_started_total") == UInt64(ends.count) + deaths)
        #expect(
            last.value("shutdown_phases_total", "recordings", "killed")
                == UInt64(ends.count { $0 == .killed })
        )
        #expect(last.cells("test_seconds").first == 6)
        #expect(last.buckets("test_seconds") == [3, 0])
        #expect(last.history.map(\.end) == ends.flatMap { [$0.outcome, .clean] })
        #expect(directory.entries == ["test.telemetry"])
    }

    @Test("a series keeps the time since which it counts when it continues in later runs")
    func created() throws {
        let directory = try TemporaryDirectory()
        let before = WallTime.now().nanoseconds
        do { try directory.start().counter("test_total", "Test.").add() }
        let first = try directory.snapshot()
        let started = first.contents.identity.startedWall.nanoseconds
        let declared = try #require(first.created("test_total"))
        #expect(before <= started && started <= declared && declared <= WallTime.now().nanoseconds)
        #expect(first.created("recorder_runs_total") == started)
        do {
            let second = try directory.start()
            second.counter("test_total", "Test.").add()
            second.counter("late_total", "Test.").add()
        }
        let publisher = try directory.start()
        publisher.counter("test_total", "Test.", labels: ["other": "shape"]).add()
        let third = try directory.snapshot()
        #expect(third.created("recorder_runs_total") == started)
        #expect(third.created("shutdown_phase_duration_seconds", "database") == started)
        let late = try #require(third.created("late_total"))
        #expect(late > declared && late < third.contents.identity.startedWall.nanoseconds)
        let reborn = try #require(third.created("test_total", "shape"))
        #expect(reborn > third.contents.identity.startedWall.nanoseconds)
    }

    @Test("a thousand restarts lose nothing and leave nothing behind", .timeLimit(.minutes(5)))
    func thousandRestarts() throws {
        let directory = try TemporaryDirectory()
        var sizes: Set<Int> = []
        let rounds = 1000
        for round in 0..<rounds {
            try run(directory, amount: UInt64(round), End.allCases[round % 4])
            if round % 100 == 99 { sizes.insert(try directory.bytes().count) }
        }
        let last = try directory.snapshot()
        #expect(last.value("recorder_runs_total") == UInt64(rounds))
        for (index, end) in End.allCases.enumerated() {
            let expected = (0..<rounds).filter { $0 % 4 == index }.reduce(0, +)
            #expect(last.value("test_total", "\(end)") == UInt64(expected))
        }
        #expect(
            last.cells("test_seconds").first == UInt64((0..<rounds).reduce(0, +))
        )
        #expect(last.buckets("test_seconds") == [6, UInt64(rounds - 6)])
        #expect(last.value("shutdowns_total", "clean") == UInt64(rounds / 4))
        #expect(last.value("shutdowns_total", "degraded") == UInt64(rounds / 4))
        #expect(last.value("shutdowns_total", "killed") == UInt64(rounds / 4))
        #expect(last.value("crashes_total") == UInt64(rounds / 4))
        #expect(last.history.count == PastRun.kept)
        #expect(last.history.map(\.end) == (0..<32).map { End.allCases[$0 % 4].outcome })
        #expect(sizes.count == 1)
        #expect(directory.entries == ["test.telemetry"])
    }

    @Test(
        "a later version may declare other phases: the counts of former phases and the phases of the last shutdown remain"
    )
    func otherPhases() throws {
        let directory = try TemporaryDirectory()
        do {
            let old = try directory.start(version: "1", phases: ["old", "both"])
            old.beginShutdown(signal: 15, gracePeriod: nil)
            old.beginPhase("both")
            old.finish(exitStatus: 0)
        }
        let new = try directory.start(version: "2", phases: ["both", "new"])
        let snapshot = try directory.snapshot()
        #expect(snapshot.value("shutdown_phases_total", "old", "ok") == 1)
        #expect(snapshot.value("shutdown_phases_total", "both", "ok") == 1)
        #expect(snapshot.value("shutdown_phases_total", "new", "ok") == 0)
        #expect(snapshot.value("recorder_info", "2") == 1)
        #expect(snapshot.value("recorder_info", "1") == nil)
        #expect(snapshot.value("shutdown_phase_active", "old") == nil)
        #expect(snapshot.history.last?.lifecycle.phases.map(\.name) == ["old", "both"])
        withExtendedLifetime(new) {}
    }

    @Test(
        "a run whose segment cannot be read is lost, and a warning reports it",
        arguments: [0, 9, 11, 600, 30_000]
    )
    func damagedPredecessor(length: Int) throws {
        let directory = try TemporaryDirectory()
        try run(directory, amount: 1, .clean)
        try directory.write(Array(try directory.bytes().prefix(length)), to: "test.telemetry")
        let publisher = try directory.start()
        #expect(publisher.warning?.hasPrefix("counts of earlier runs are lost") == true)
        #expect(try directory.snapshot().value("recorder_runs_total") == 1)
    }
}
