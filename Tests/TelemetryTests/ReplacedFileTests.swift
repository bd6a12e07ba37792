import Glibc
import Posix
import Testing

@testable import StreamVaultTelemetry

/// Changes between the moments when a path is looked up and when the file is read.
///
/// `isSameFile` is the path that was looked up before the change.
@Suite("A file that is replaced while it is being read", .timeLimit(.minutes(5)))
struct ReplacedFileTests {
    private let directory: TemporaryDirectory
    private var reader: SegmentReader

    init() throws {
        directory = try TemporaryDirectory()
        reader = SegmentReader(path: directory.segmentPath())
    }

    @Test("a run that published in a new file and then ended has ended as the new file says")
    mutating func end() throws {
        do {
            let publisher = try directory.startUnwatched()
            publisher.enter(.recording)
            #expect(try reader.snapshot().verdict == .alive)
            unlink(directory.segmentPath())
            #expect(publisher.check()?.published == .removed)
            publisher.finish(exitStatus: 0)
        }
        #expect(try reader.snapshot(isSameFile: true).verdict == .ended(.clean))
    }

    @Test("a run that has released its former file is alive, however late that file is read")
    mutating func formerFile() throws {
        let publisher = try directory.startUnwatched()
        let counter = publisher.counter("test_total", "Test.")
        #expect(try reader.snapshot().verdict == .alive)
        unlink(directory.segmentPath())
        #expect(publisher.check()?.published == .removed)
        counter.add(3)
        let late = BootTime.now().advanced(by: .seconds(11))
        #expect(publisher.segment.check(at: late) == nil)
        let snapshot = try reader.snapshot(isSameFile: true)
        #expect(snapshot.verdict == .alive)
        #expect(snapshot.value("test_total") == 3)
    }

    @Test("a removed file without an owner is missing")
    mutating func removed() throws {
        do {
            let publisher = try directory.startUnwatched()
            #expect(try reader.snapshot().verdict == .alive)
            unlink(directory.segmentPath())
            withExtendedLifetime(publisher) {}
        }
        #expect(throws: SegmentError.missing) { try reader.snapshot(isSameFile: true) }
    }

    @Test("of two files without an owner, the one that has the name is read")
    mutating func followingRuns() throws {
        do { _ = try directory.startUnwatched() }
        #expect(try reader.snapshot().verdict == .ended(.crashed))
        do { _ = try directory.startUnwatched() }
        let snapshot = try reader.snapshot(isSameFile: true)
        #expect(snapshot.value("crashes_total") == 2, "the file that has the name")
    }

    @Test("a copy with the name of the file of a running recorder is not read")
    mutating func copy() throws {
        let publisher = try directory.startUnwatched()
        let counter = publisher.counter("test_total", "Test.")
        #expect(try reader.snapshot().verdict == .alive)
        let bytes = try directory.bytes()
        unlink(directory.segmentPath())
        try directory.write(bytes, to: "test.telemetry")
        counter.add(3)
        for _ in 0..<2 {
            let snapshot = try reader.snapshot()
            #expect(snapshot.verdict == .alive)
            #expect(snapshot.value("test_total") == 3, "of the recorder's file")
        }
        #expect(publisher.check()?.published == .replaced)
        #expect(try reader.snapshot().verdict == .alive)
        publisher.finish(exitStatus: 0)
        #expect(try reader.snapshot().verdict == .ended(.clean))
    }

    @Test("counts that decrease are those of a file that was truncated during the read")
    mutating func truncatedDuringRead() throws {
        let publisher = try directory.startUnwatched()
        let counter = publisher.counter("test_total", "Test.")
        counter.add(3)
        let before = try reader.snapshot()
        let contents = before.contents
        let series = contents.series.first { contents.families[$0.family].name == "test_total" }
        let word = try #require(series).word
        // What a read returns that comes upon the truncation in the middle.
        try directory.setWord(word, to: 0)
        #expect(throws: SegmentError.truncated) {
            try reader.snapshot(isSameFile: true, after: before)
        }
        try directory.setWord(word, to: 3)
        counter.add(2)
        #expect(try reader.snapshot(isSameFile: true, after: before).value("test_total") == 5)
    }

    @Test(
        "a file that was truncated and has grown again is refused",
        arguments: [0, 511, 1000, 100_000]
    )
    mutating func regrown(length: Int) throws {
        let publisher = try directory.startUnwatched()
        publisher.enter(.recording)
        #expect(try reader.snapshot().verdict == .alive)
        let size = try directory.bytes().count
        #expect(truncate(directory.segmentPath(), length) == 0)
        #expect(truncate(directory.segmentPath(), size) == 0)
        // The publisher has not noticed yet, and writes to the file.
        for state in [RunState.draining, .recording] {
            publisher.enter(state)
            #expect(throws: SegmentError.self) { try reader.snapshot() }
        }
        #expect(publisher.check()?.published == .truncated)
        let snapshot = try reader.snapshot()
        #expect(snapshot.contents.lifecycle.state == .recording)
        #expect(snapshot.value("recorder_runs_total") == 1)
    }

    @Test("counts lost by truncation do not make the counters of the run lower")
    mutating func cut() throws {
        let publisher = try directory.startUnwatched()
        let rare = publisher.counter("test_rare_total", "Test.")
        let steady = publisher.counter("test_steady_total", "Test.")
        let histogram = publisher.histogram("test_seconds", "Test.", bounds: [.seconds(1)])
        let gauge = publisher.gauge("test", "Test.")
        for counter in [rare, steady] { counter.add(10) }
        histogram.observe(.milliseconds(1))
        gauge.set(1)
        #expect(publisher.check() == nil)
        for counter in [rare, steady] { counter.add(1) }
        histogram.observe(.milliseconds(1))
        gauge.set(2)
        let before = try reader.snapshot()
        #expect(truncate(directory.segmentPath(), 0) == 0)
        #expect(throws: SegmentError.self) { try reader.snapshot() }
        #expect(publisher.check()?.published == .truncated)
        // The exporter closes a file that it cannot read, and keeps its last snapshot.
        reader = SegmentReader(path: directory.segmentPath())
        var snapshot = try reader.snapshot(after: before)
        #expect(snapshot.value("test_rare_total") == 11)
        #expect(snapshot.value("test_steady_total") == 11)
        #expect(snapshot.buckets("test_seconds") == [2, 0])
        #expect(snapshot.value("test") == (1.0).bitPattern, "a gauge may be lower")
        #expect(try directory.snapshot().value("test_rare_total") == 10, "lower for a new reader")
        for _ in 0..<5 { steady.add(1) }
        _ = publisher.counter("test_new_total", "Test.")  // Other records.
        snapshot = try reader.snapshot(after: snapshot)
        #expect(snapshot.value("test_rare_total") == 11)
        #expect(snapshot.value("test_steady_total") == 15)
        for _ in 0..<2 { rare.add(1) }
        histogram.observe(.seconds(2))
        snapshot = try reader.snapshot(after: snapshot)
        #expect(snapshot.value("test_rare_total") == 12)
        #expect(snapshot.buckets("test_seconds") == [2, 1])
    }

    @Test("the counters of the next run may be lower")
    mutating func nextRun() throws {
        var before: Snapshot
        do {
            let publisher = try directory.startUnwatched()
            publisher.counter("test_total", "Test.").add(5)
            before = try reader.snapshot()
            unlink(directory.segmentPath())
        }
        let publisher = try directory.startUnwatched()
        publisher.counter("test_total", "Test.").add(1)
        #expect(try reader.snapshot(after: before).value("test_total") == 1)
    }

    @Test(
        "what is counted when a publication is reported is not lost by a truncation right after it"
    )
    func countedEvent() throws {
        let publisher = try directory.startUnwatched()
        let counter = publisher.counter("test_total", "Test.")
        publisher.onEvent { _ in counter.add(1) }
        unlink(directory.segmentPath())
        publisher.checkAndReport()
        #expect(truncate(directory.segmentPath(), 0) == 0)
        publisher.checkAndReport()
        #expect(try directory.snapshot().value("test_total") == 2)
    }

    /// Heartbeats of another time namespace: each later than the one before, and all long before or after the present.
    @Test(
        "a clock that differs although the boot id is the same does not make a recorder hung",
        arguments: [false, true]
    )
    mutating func timeNamespace(isAhead: Bool) throws {
        let publisher = try directory.startUnwatched()
        let start = BootTime(nanoseconds: isAhead ? BootTime.now().nanoseconds * 2 : 1_000_000)
        try directory.setStart(start)
        for second in 1...3 {
            try directory.setHeartbeat(start.advanced(by: .seconds(second)))
            let snapshot = try reader.snapshot()
            // A clock that is behind is detected with the second heartbeat.
            if second > 1 || isAhead { #expect(snapshot.verdict == .alive) }
        }
        withExtendedLifetime(publisher) {}
    }

    @Test("where the clock differs, a run is hung if its heartbeat has not changed for long")
    func timeNamespaceHung() throws {
        let segment = PaperSegment()
        segment.state.change { $0.state = .recording }
        segment.beat(at: 20)
        for (unchanged, verdict) in [(Duration.seconds(10), Verdict.alive), (.seconds(11), .hung)] {
            let snapshot = try Snapshot(
                of: segment.bytes,
                isOwned: true,
                now: PaperSegment.stamp(1000),
                unchangedFor: unchanged,
                hasOtherClock: true
            )
            #expect(snapshot.verdict == verdict)
        }
    }
}
