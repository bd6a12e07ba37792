import Testing

@testable import StreamVaultTelemetry

@Suite("Declared metrics")
struct DeclarationTests {
    @Test("a retired series is not exposed, and keeps its count until it is declared again")
    func retire() throws {
        let directory = try TemporaryDirectory()
        let publisher = try directory.start()
        let counter = publisher.counter("test_total", "Test.", labels: ["stream": "a"])
        counter.add(3)
        publisher.retire("test_total", ["a"])
        #expect(try directory.snapshot().value("test_total", "a") == nil)
        counter.add(4)
        publisher.retire("test_total", ["b"])
        publisher.retire("unknown_total")
        publisher.counter("test_total", "Test.", labels: ["stream": "a"]).add()
        #expect(try directory.snapshot().value("test_total", "a") == 8)
    }

    @Test(
        "label values are compared byte by byte: two encodings of an accented letter are two series"
    )
    func spellings() throws {
        let directory = try TemporaryDirectory()
        let publisher = try directory.start()
        let spellings = ["caf\u{E9}", "cafe\u{301}"]
        for (index, name) in spellings.enumerated() {
            publisher.counter("test_total", "Test.", labels: ["stream": name])
                .add(UInt64(index) + 1)
            publisher.startRecording(id: UInt64(index), stream: name, path: "/x", container: "ts")
                .wrote(188 * (index + 1))
        }
        let snapshot = try directory.snapshot()
        for (name, cells) in [
            ("test_total", [1, 2]), ("streamvault_recording_written_bytes", [188, 376]),
        ] {
            let series = snapshot.contents.series.filter {
                snapshot.contents.families[$0.family].name == name
            }
            #expect(series.count == 2)
            #expect(series.map { Int(snapshot.words[$0.word]) }.sorted() == cells)
        }
        publisher.retire("test_total", [spellings[0]])
        let left = try directory.snapshot().contents.series.filter {
            $0.values.first.map { $0.utf8.elementsEqual(spellings[1].utf8) } ?? false
        }
        #expect(left.count == 4, "the counter's and the recording's")
    }

    @Test("declarations without room are counted, and their handles can be used")
    func full() throws {
        let directory = try TemporaryDirectory()
        let publisher = try directory.start()
        let before = try directory.snapshot().value("telemetry_refused_declarations_total")
        #expect(before == 0)
        var counters: [Counter] = []
        for index in 0..<200 {
            counters.append(publisher.counter("test_total", "Test.", labels: ["n": "\(index)"]))
        }
        for counter in counters { counter.add() }
        let histogram = publisher.histogram("test_seconds", "Test.")
        histogram.observe(.seconds(200))
        let snapshot = try directory.snapshot()
        let shown = snapshot.contents.series.count {
            snapshot.contents.families[$0.family].name == "test_total"
        }
        let refused = try #require(snapshot.value("telemetry_refused_declarations_total"))
        #expect(shown > 0)
        #expect(refused == UInt64(200 - shown) + 1)
        for series in snapshot.contents.series
        where snapshot.contents.families[series.family].name == "test_total" {
            #expect(snapshot.words[series.word] == 1)
        }
    }

    @Test("the count of rejected declarations continues after a restart")
    func refusedCarried() throws {
        let directory = try TemporaryDirectory()
        do { _ = try directory.start().counter("no good", "Test.") }
        do { _ = try directory.start().counter("no good", "Test.") }
        #expect(try directory.snapshot().value("telemetry_refused_declarations_total") == 2)
    }

    @Test("recordings without a slot are counted when they end")
    func fullPlaces() throws {
        let directory = try TemporaryDirectory()
        let publisher = try directory.start()
        let recordings = (0..<6).map {
            publisher.startRecording(id: $0, stream: "s\($0)", path: "/\($0)", container: "ts")
        }
        for recording in recordings { recording.wrote(10) }
        recordings[5].finalizing()
        #expect(try directory.snapshot().value("recordings_active") == 4)
        #expect(try directory.snapshot().value("telemetry_refused_declarations_total") == 2)
        for recording in recordings { recording.end(.completed) }
        let snapshot = try directory.snapshot()
        #expect(snapshot.value("recordings_started_total") == 6)
        #expect(snapshot.value("recordings_finished_total", "completed") == 6)
    }

    @Test("a recording that has ended does not affect the one that has its slot now")
    func endedRecording() throws {
        let directory = try TemporaryDirectory()
        let publisher = try directory.start()
        let first = publisher.startRecording(id: 1, stream: "a", path: "/a", container: "ts")
        first.end(.completed)
        first.end(.failed)
        let second = publisher.startRecording(id: 2, stream: "b", path: "/b", container: "ts")
        first.finalizing()
        first.wrote(100)
        let snapshot = try directory.snapshot()
        #expect(snapshot.value("recordings_active") == 1)
        #expect(snapshot.value("recording_written_bytes", "b") == 0)
        #expect(snapshot.value("recordings_finished_total", "failed") == 0)
        withExtendedLifetime(second) {}
    }

    @Test("a later version may declare a name with another shape, but not the same run")
    func otherShape() throws {
        let directory = try TemporaryDirectory()
        do {
            let old = try directory.start()
            for stream in ["a", "b"] {
                old.counter("test_total", "Old.", labels: ["stream": stream]).add(5)
                old.histogram("test_seconds", "Test.", labels: ["n": stream]).observe(1)
            }
        }
        let new = try directory.start()
        new.counter("test_total", "New.", labels: ["result": "ok"]).add(2)
        new.histogram("test_seconds", "Test.", bounds: [.seconds(1)], labels: ["n": "a"]).observe(7)
        new.counter("test_total", "Third.", labels: ["third": "ok"]).add(9)
        let snapshot = try directory.snapshot()
        #expect(snapshot.value("test_total", "ok") == 2)
        #expect(snapshot.value("test_total", "a") == nil)
        #expect(snapshot.buckets("test_seconds", "a") == [1, 0])
        #expect(snapshot.cells("test_seconds", "b") == [])
        #expect(snapshot.value("telemetry_refused_declarations_total") == 1)
    }

    @Test("a later version's help replaces the earlier one's")
    func otherHelp() throws {
        let old = PaperSegment()
        let family = MetricFamily(name: "streamvault_crashes_total", help: "Old.", kind: .counter)
        _ = old.state.metrics.word(of: family, [])
        let snapshot = try old.snapshot(isOwned: false, at: 1)
        let directory = try TemporaryDirectory()
        try directory.write(old.bytes, to: "test.telemetry")
        #expect(snapshot.contents.families.contains(family))
        let new = try directory.start()
        let families = try directory.snapshot().contents.families
        #expect(families.contains(RunMetrics.crashes))
        withExtendedLifetime(new) {}
    }

    struct Bad: Sendable, CustomTestStringConvertible {
        let family: MetricFamily
        var testDescription: String { "\(family)" }
    }

    @Test(
        "names that would make a scrape fail are not declared",
        arguments: [
            MetricFamily(name: "", help: "", kind: .gauge),
            MetricFamily(name: "1a", help: "", kind: .gauge),
            MetricFamily(name: "ä", help: "", kind: .gauge),
            MetricFamily(name: "a b", help: "", kind: .gauge),
            MetricFamily(name: "test", help: "", kind: .counter),
            MetricFamily(name: "_total", help: "", kind: .counter),
            MetricFamily(name: "test", help: "", kind: .info),
            MetricFamily(name: "test", help: "", kind: .gauge, unit: "seconds"),
            MetricFamily(name: "test_total", help: "", kind: .counter, unit: "bytes"),
            MetricFamily(name: "test", help: "", kind: .gauge, scale: 0),
            MetricFamily(name: "test", help: "", kind: .gauge, labels: ["a", "a"]),
            MetricFamily(name: "test", help: "", kind: .gauge, labels: ["recorder"]),
            MetricFamily(name: "test", help: "", kind: .gauge, labels: ["__a"]),
            MetricFamily(name: "test", help: "", kind: .gauge, labels: ["a:b"]),
            MetricFamily(name: "test", help: "", kind: .gauge, labels: ["a", "b", "c", "d", "e"]),
            MetricFamily(name: "test", help: "", kind: .gauge, bounds: [1]),
            MetricFamily(name: "test", help: "", kind: .histogram),
            MetricFamily(name: "test", help: "", kind: .histogram, bounds: [2, 1]),
            MetricFamily(name: "test", help: "", kind: .histogram, bounds: [1, 1]),
            MetricFamily(
                name: "test",
                help: "",
                kind: .histogram,
                bounds: (0..<33).map { UInt64($0) }
            ),
            MetricFamily(name: String(repeating: "a", count: 73), help: "", kind: .gauge),
        ].map(Bad.init)
    )
    func badFamily(_ bad: Bad) throws {
        let segment = PaperSegment()
        let cell = segment.state.cell(bad.family, bad.family.labels)
        for offset in 0..<bad.family.wordsPerSeries { cell.following(offset).add(1) }
        let snapshot = try segment.snapshot(isOwned: true, at: 1)
        #expect(snapshot.value("telemetry_refused_declarations_total") == 1)
        #expect(!snapshot.contents.families.contains(bad.family))
    }

    @Test("all valid UTF-8 that fits is kept in labels")
    func labelValues() throws {
        let segment = PaperSegment()
        let family = MetricFamily(name: "test", help: "\n\"\\", kind: .gauge, labels: ["a", "b"])
        let good = [["", ""], ["\n\"\\", "ä€𝄞"], [String(repeating: "x", count: 142), ""]]
        let bad = [
            [String(repeating: "x", count: 143), ""], [String(repeating: "x", count: 300), ""],
            ["a"],
        ]
        for values in good + bad { _ = segment.state.cell(family, values) }
        let snapshot = try segment.snapshot(isOwned: true, at: 1)
        for values in good { #expect(snapshot.value("test", values[0], values[1]) == 0) }
        #expect(snapshot.value("telemetry_refused_declarations_total") == UInt64(bad.count))
    }

    @Test(
        "any capacity makes a segment that a reader accepts",
        arguments: [(0, 0, 0, 0), (-5, .min, -1, -1), (.max, .max, .max, .max), (1, 1, 1, 1)]
    )
    func capacity(_ families: Int, _ series: Int, _ words: Int, _ recordings: Int) throws {
        var capacity = SegmentCapacity()
        (capacity.families, capacity.series) = (families, series)
        (capacity.words, capacity.recordings) = (words, recordings)
        let directory = try TemporaryDirectory()
        let publisher = try directory.start(capacity: capacity)
        #expect(publisher.warning == nil)
        publisher.counter("test_total", "Test.").add()
        publisher.startRecording(id: 1, stream: "a", path: "/a", container: "ts").end(.completed)
        #expect(try directory.snapshot().verdict == .alive)
    }

    @Test("a shutdown cannot be undone and ends once")
    func oneDirection() throws {
        let directory = try TemporaryDirectory()
        let publisher = try directory.start()
        publisher.beginPhase("database")
        publisher.enter(.stopped)
        publisher.enter(.recording)
        #expect(try directory.snapshot().contents.lifecycle.state == .recording)
        #expect(try directory.snapshot().contents.lifecycle.runningPhase == nil)
        publisher.beginShutdown(signal: 15, gracePeriod: .seconds(60))
        let begun = try directory.snapshot().contents.lifecycle
        publisher.beginShutdown(signal: 2, gracePeriod: .seconds(1))
        publisher.enter(.recording)
        #expect(try directory.snapshot().contents.lifecycle == begun)
        publisher.finish(exitStatus: 0)
        let ended = try directory.snapshot().contents.lifecycle
        publisher.finish(.error, exitStatus: 1)
        publisher.beginPhase("database")
        publisher.beginShutdown(signal: 2, gracePeriod: nil)
        publisher.enter(.starting)
        #expect(try directory.snapshot().contents.lifecycle == ended)
        #expect(publisher.endedPhases.map(\.name) == ["recordings"])
    }

    @Test("a recording that ends after the run is abandoned, and is counted once")
    func lateEnd() throws {
        let directory = try TemporaryDirectory()
        let publisher = try directory.start()
        let late = publisher.startRecording(id: 1, stream: "a", path: "/a", container: "ts")
        publisher.beginShutdown(signal: 15, gracePeriod: .seconds(60))
        publisher.finish(.timeout, exitStatus: 1)
        let said = try directory.snapshot().contents
        late.finalizing()
        late.end(.interrupted)
        let contents = try directory.snapshot().contents
        #expect(contents.recordings.map(\.id) == [1])
        #expect(contents.ended == said.ended)
    }
}
