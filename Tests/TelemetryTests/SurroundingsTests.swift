import Foundation
import Glibc
import Posix
import Synchronization
import Testing

@testable import StreamVaultTelemetry

@Suite("Changes of the file and its directory", .timeLimit(.minutes(5)))
struct SurroundingsTests {
    /// Something that another process does to the file or its directory.
    struct Change: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let cause: PublisherEvent.Cause
        let make: @Sendable (TemporaryDirectory) throws -> Void

        init(
            _ description: String,
            _ cause: PublisherEvent.Cause,
            _ make: @escaping @Sendable (TemporaryDirectory) throws -> Void
        ) {
            (testDescription, self.cause, self.make) = (description, cause, make)
        }

        static func cut(_ description: String, _ length: @escaping @Sendable (Int) -> Int)
            -> Change
        {
            Change("cut to \(description)", .truncated) { directory in
                let size = try directory.bytes().count
                #expect(truncate(directory.segmentPath(), length(size)) == 0)
            }
        }

        static func regrown(_ description: String, _ length: @escaping @Sendable (Int) -> Int)
            -> Change
        {
            Change("cut to \(description) and grown again", .truncated) { directory in
                let size = try directory.bytes().count
                #expect(truncate(directory.segmentPath(), length(size)) == 0)
                #expect(truncate(directory.segmentPath(), size) == 0)
            }
        }
    }

    static let moves = [
        Change("the file is removed", .removed) { unlink($0.segmentPath()) },
        Change("the directory is emptied and removed", .removed) { directory in
            try FileManager.default.removeItem(atPath: directory.path)
        },
        Change("the directory is made anew", .removed) { directory in
            try FileManager.default.removeItem(atPath: directory.path)
            try FileSystem.makeDirectory(directory.path)
        },
        Change("the directory is moved away", .removed) { directory in
            try FileSystem.rename(directory.path, to: directory.path + "-moved")
        },
        Change("another file has the name", .replaced) { directory in
            unlink(directory.segmentPath())
            try directory.write([1, 2, 3], to: "test.telemetry")
        },
        Change("a copy has the name", .replaced) { directory in
            let bytes = try directory.bytes()
            unlink(directory.segmentPath())
            try directory.write(bytes, to: "test.telemetry")
        },
        Change("a link to another file has the name", .replaced) { directory in
            try directory.write([1, 2, 3], to: "other")
            unlink(directory.segmentPath())
            symlink("other", directory.segmentPath())
        },
        Change("a link that leads nowhere has the name", .removed) { directory in
            unlink(directory.segmentPath())
            symlink("nowhere", directory.segmentPath())
        },
        Change("a pipe has the name", .replaced) { directory in
            unlink(directory.segmentPath())
            mkfifo(directory.segmentPath(), 0o644)
        },
    ]

    static let cuts =
        [
            Change.cut("nothing") { _ in 0 }, .cut("one byte") { _ in 1 },
            .cut("the header") { _ in 512 }, .cut("half") { $0 / 2 },
            .cut("all but a byte") { $0 - 1 }, .regrown("nothing") { _ in 0 },
            .regrown("the header") { _ in 512 }, .regrown("half") { $0 / 2 },
            .regrown("all but a byte") { $0 - 1 },
        ] + [
            Change("other bytes are written to it", .truncated) { directory in
                let file = try FileDescriptor(opening: directory.segmentPath(), O_WRONLY | O_TRUNC)
                try file.writeAll([UInt8](repeating: 0xFF, count: 1 << 20).span)
            }
        ]

    /// A run that has published something of every kind.
    final class Life {
        let directory: TemporaryDirectory
        let publisher: Publisher
        let counter: Counter
        let gauge: Gauge
        let histogram: Histogram
        let recording: RecordingPublisher

        init(_ directory: TemporaryDirectory) throws {
            self.directory = directory
            publisher = try directory.startUnwatched()
            counter = publisher.counter("test_total", "Test.")
            gauge = publisher.gauge("test", "Test.")
            histogram = publisher.histogram("test_seconds", "Test.", bounds: [.seconds(1)])
            publisher.enter(.recording)
            recording = publisher.startRecording(id: 1, stream: "a", path: "/a", container: "ts")
            counter.add(7)
            gauge.set(2.5)
            histogram.observe(.milliseconds(1))
            recording.wrote(100)
            #expect(publisher.check() == nil, "nothing has happened yet")
        }

        /// Checks that a reader finds what was published, `factor` times.
        func expectPublished(_ factor: UInt64 = 1) throws {
            let snapshot = try directory.snapshot()
            #expect(snapshot.isOwned)
            #expect(snapshot.verdict == .alive)
            #expect(snapshot.contents.lifecycle.state == .recording)
            #expect(snapshot.value("test_total") == 7 * factor)
            #expect(snapshot.value("test") == (2.5 * Double(factor)).bitPattern)
            #expect(snapshot.buckets("test_seconds") == [factor, 0])
            #expect(snapshot.recordings.map(\.bytes) == [100 * factor])
            #expect(snapshot.value("recorder_runs_total") == 1)
            #expect(directory.entries == ["test.telemetry"] || directory.entries.contains("other"))
        }

        func publishMore() {
            counter.add(7)
            gauge.set(5)
            histogram.observe(.milliseconds(1))
            recording.wrote(100)
        }
    }

    @Test("after any change of the name, readers find all counts", arguments: moves)
    func moved(change: Change) throws {
        let life = try Life(try TemporaryDirectory())
        try change.make(life.directory)
        life.publishMore()
        let event = try #require(life.publisher.check())
        #expect(event.published == change.cause)
        try life.expectPublished(2)
        #expect(life.publisher.check() == nil)
        life.counter.add(1)
        #expect(try life.directory.snapshot().value("test_total") == 15, "handles stay as they are")
        try? FileManager.default.removeItem(atPath: life.directory.path + "-moved")
    }

    @Test("a truncated file is published again", arguments: cuts)
    func cut(change: Change) throws {
        let life = try Life(try TemporaryDirectory())
        try change.make(life.directory)
        let event = try #require(life.publisher.check())
        #expect(event.published == change.cause)
        try life.expectPublished()
        life.publishMore()
        try life.expectPublished(2)
        #expect(life.publisher.check() == nil)
        life.recording.end(.completed)
        #expect(try life.directory.snapshot().value("recordings_finished_total", "completed") == 1)
    }

    @Test("everything can be published between a truncation and the next check", arguments: cuts)
    func busyCut(change: Change) throws {
        let life = try Life(try TemporaryDirectory())
        try change.make(life.directory)
        life.counter.add(100)
        life.publisher.enter(.draining)
        life.publisher.heartbeat()
        let late = life.publisher.counter("test_late_total", "Declared meanwhile.")
        late.add(3)
        life.recording.end(.completed)
        #expect(life.publisher.check()?.published == .truncated)
        let snapshot = try life.directory.snapshot()
        #expect(snapshot.contents.lifecycle.state == .draining)
        #expect(snapshot.value("recordings_finished_total", "completed") == 1)
        // At most one interval is lost.
        #expect([7, 107].contains(snapshot.value("test_total") ?? 0))
        late.add(2)
        let now = try #require(try life.directory.snapshot().value("test_late_total"))
        #expect([2, 5].contains(now))
    }

    @Test("a directory with the name is not removed; the next check after its removal publishes")
    func directory() throws {
        let life = try Life(try TemporaryDirectory())
        let path = life.directory.segmentPath()
        unlink(path)
        try FileSystem.makeDirectory(path)
        #expect(life.publisher.check()?.problem?.contains("Is a directory") == true)
        #expect(life.publisher.check() == nil, "the same is reported once")
        rmdir(path)
        #expect(life.publisher.check()?.published == .replaced)
        try life.expectPublished()
    }

    @Test("a second name, another mode, and a directory that cannot be read change nothing")
    func harmless() throws {
        let life = try Life(try TemporaryDirectory())
        let path = life.directory.segmentPath()
        #expect(link(path, life.directory.path + "/other") == 0)
        #expect(life.publisher.check() == nil)
        try FileSystem.setMode(0, of: path)
        #expect(life.publisher.check() == nil)
        try FileSystem.setMode(0o644, of: path)
        try FileSystem.setMode(0, of: life.directory.path)
        _ = life.publisher.check()  // No change for root.
        try FileSystem.setMode(0o755, of: life.directory.path)
        _ = life.publisher.check()
        try life.expectPublished()
    }

    @Test("all changes one after the other, ten times")
    func all() throws {
        let life = try Life(try TemporaryDirectory())
        for _ in 0..<10 {
            for change in Self.moves + Self.cuts {
                try change.make(life.directory)
                let event = try #require(life.publisher.check())
                #expect(event.published == change.cause)
                try life.expectPublished()
                try? FileManager.default.removeItem(atPath: life.directory.path + "-moved")
                #expect(life.publisher.check() == nil)
            }
        }
    }

    @Test(
        "a run publishes in a directory that is created late, with the counts of earlier runs in it"
    )
    func late() throws {
        let parent = try TemporaryDirectory()
        let earlier = try TemporaryDirectory()
        do {
            let first = try earlier.startUnwatched()
            first.counter("test_total", "Test.").add(40)
            first.counter("test_other_total", "Test.").add(3)
            first.histogram("test_seconds", "Test.", bounds: [.seconds(1)]).observe(.seconds(2))
        }
        let path = parent.path + "/run/telemetry"
        let publisher = try startRun(in: path)
        #expect(publisher.warning?.hasPrefix("telemetry is not published: mkdir") == true)
        #expect(!publisher.isPublished)
        let counter = publisher.counter("test_total", "Test.")
        counter.add(2)
        publisher.histogram("test_seconds", "Test.", bounds: [.seconds(1)]).observe(.seconds(1))
        #expect(publisher.check()?.problem?.hasPrefix("mkdir") == true)
        #expect(publisher.check() == nil, "said once")
        try FileSystem.makeDirectory(parent.path + "/run")
        try FileSystem.rename(earlier.path, to: path)
        #expect(publisher.check()?.published == .late)
        counter.add(1)
        var reader = SegmentReader(path: path + "/test.telemetry")
        let snapshot = try reader.snapshot()
        #expect(snapshot.verdict == .alive)
        #expect(snapshot.value("test_total") == 43)
        #expect(snapshot.value("test_other_total") == 3)
        #expect(snapshot.buckets("test_seconds") == [1, 1])
        #expect(snapshot.value("recorder_runs_total") == 2)
        #expect(snapshot.value("crashes_total") == 1)
        #expect(snapshot.history.count == 1)
        // Only once in a run: later it finds its own counts.
        unlink(path + "/test.telemetry")
        #expect(publisher.check()?.published == .removed)
        #expect(try reader.snapshot().value("test_total") == 43)
    }

    @Test("a missing directory is created")
    func created() throws {
        let parent = try TemporaryDirectory()
        let publisher = try startRun(in: parent.path + "/telemetry")
        #expect(publisher.warning == nil)
        #expect(try FileSystem.entries(of: parent.path + "/telemetry") == ["test.telemetry"])
    }

    @Test("a full file system prevents the publication, but no counts are lost")
    func full() throws {
        let directory = try TemporaryDirectory()
        let fixture = try Fixture("republish", directory.path)
        #expect(try fixture.lines() == ["running", "posix_fallocate", "removed", "15"])
        #expect(fixture.wait() == .code(0))
        #expect(directory.entries == ["test.telemetry"])
    }

    @Test("a run does not take its name back from a later recorder")
    func secondRecorder() throws {
        let life = try Life(try TemporaryDirectory())
        try FileManager.default.removeItem(atPath: life.directory.path)
        let other = try life.directory.startUnwatched()
        #expect(life.publisher.check()?.problem == "another recorder of this name is running")
        #expect(try life.directory.snapshot().value("test_total") == nil)
        withExtendedLifetime(other) {}
    }
}

extension PublisherEvent {
    var published: Cause? {
        guard case .published(let cause) = kind else { return nil }
        return cause
    }

    var problem: String? {
        guard case .unpublished(let problem) = kind else { return nil }
        return problem
    }
}

extension TemporaryDirectory {
    /// Starts a run of the recorder `test` that no thread checks.
    func startUnwatched() throws -> Publisher {
        try startRun(in: path)
    }
}

func startRun(in path: String) throws -> Publisher {
    try Publisher(
        RunIdentity(starting: "test", "1.0", heartbeatInterval: .seconds(1)),
        directory: path,
        phases: [PhaseBudget("recordings", budget: .seconds(10))],
        capacity: .small
    )
}
