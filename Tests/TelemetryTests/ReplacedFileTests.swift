import Glibc
import Posix
import Testing

@testable import StreamVaultTelemetry

/// Each step between looking up a file's name and reading it, with what can happen there.
///
/// `isSameFile` stands for a name that was looked up before the change.
@Suite("A file that is replaced while it is being read", .timeLimit(.minutes(5)))
struct ReplacedFileTests {
    private let directory: TemporaryDirectory
    private var reader: SegmentReader

    init() throws {
        directory = try TemporaryDirectory()
        reader = SegmentReader(path: directory.segmentPath())
    }

    @Test("a run that published anew and then ended has ended as its new file says")
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

    @Test("a run that gave up its former file is alive, however late that file is read")
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

    @Test("a file without an owner and without a name says nothing")
    mutating func removed() throws {
        do {
            let publisher = try directory.startUnwatched()
            #expect(try reader.snapshot().verdict == .alive)
            unlink(directory.segmentPath())
            withExtendedLifetime(publisher) {}
        }
        #expect(throws: SegmentError.missing) { try reader.snapshot(isSameFile: true) }
    }

    @Test("files that are replaced by others without an owner, again and again, say nothing")
    mutating func followingRuns() throws {
        do { _ = try directory.startUnwatched() }
        #expect(try reader.snapshot().verdict == .ended(.crashed))
        do { _ = try directory.startUnwatched() }
        let snapshot = try reader.snapshot(isSameFile: true)
        #expect(snapshot.value("crashes_total") == 2, "the file that has the name")
    }

    @Test("a copy that has the name of a run that is alive does not end it")
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
            #expect(snapshot.value("test_total") == 3, "of the file that it publishes in")
        }
        #expect(publisher.check()?.published == .replaced)
        #expect(try reader.snapshot().verdict == .alive)
        publisher.finish(exitStatus: 0)
        #expect(try reader.snapshot().verdict == .ended(.clean))
    }

    @Test(
        "a file that was cut and has grown again is no segment without metrics",
        arguments: [0, 511, 1000, 100_000]
    )
    mutating func regrown(length: Int) throws {
        let publisher = try directory.startUnwatched()
        publisher.enter(.recording)
        #expect(try reader.snapshot().verdict == .alive)
        let size = try directory.bytes().count
        #expect(truncate(directory.segmentPath(), length) == 0)
        #expect(truncate(directory.segmentPath(), size) == 0)
        // It does not know yet, and writes to the file.
        for state in [RunState.draining, .recording] {
            publisher.enter(state)
            #expect(throws: SegmentError.self) { try reader.snapshot() }
        }
        #expect(publisher.check()?.published == .truncated)
        let snapshot = try reader.snapshot()
        #expect(snapshot.contents.lifecycle.state == .recording)
        #expect(snapshot.value("recorder_runs_total") == 1)
    }

    @Test("what a cut has cost does not make the counters of the run fall")
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
        // An exporter drops a file that it cannot read, and keeps what it has read.
        reader = SegmentReader(path: directory.segmentPath())
        var snapshot = try reader.snapshot(after: before)
        #expect(snapshot.value("test_rare_total") == 11)
        #expect(snapshot.value("test_steady_total") == 11)
        #expect(snapshot.buckets("test_seconds") == [2, 0])
        #expect(snapshot.value("test") == (1.0).bitPattern, "a gauge may fall")
        #expect(try directory.snapshot().value("test_rare_total") == 10, "lost, for other readers")
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

    @Test("the next run's counters are its own")
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

    @Test("what is counted when a publication is reported survives a cut that follows at once")
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

    /// Heartbeats that a time namespace shifts: each later than the one before, and all before or after the present.
    @Test(
        "a clock that differs, with one boot id, makes nobody look hung",
        arguments: [false, true]
    )
    mutating func timeNamespace(isAhead: Bool) throws {
        let publisher = try directory.startUnwatched()
        let start = BootTime(nanoseconds: isAhead ? BootTime.now().nanoseconds * 2 : 1_000_000)
        try setStart(start)
        for second in 1...3 {
            try write(start.advanced(by: .seconds(second)), at: 512 + 8)
            let snapshot = try reader.snapshot()
            // A clock that is behind is known by the second heartbeat.
            if second > 1 || isAhead { #expect(snapshot.verdict == .alive) }
        }
        withExtendedLifetime(publisher) {}
    }

    @Test("where the clock differs, a run is hung when its heartbeat has not changed for long")
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

    private func setStart(_ start: BootTime) throws {
        let file = try FileDescriptor(opening: directory.segmentPath(), O_RDWR)
        try write(start, at: 56)
        let header = try file.bytes(at: 0, count: SegmentLayout.headerSize)
        try write(BootTime(nanoseconds: UInt64(Checksum.crc32(header[..<504]))), at: 504)
    }

    private func write(_ time: BootTime, at offset: Int) throws {
        let file = try FileDescriptor(opening: directory.segmentPath(), O_RDWR)
        var word = time.nanoseconds.littleEndian
        #expect(pwrite(file.rawValue, &word, 8, off_t(offset)) == 8)
    }
}
