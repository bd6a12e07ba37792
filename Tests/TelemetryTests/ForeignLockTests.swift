import Foundation
import Glibc
import Posix
import Testing

@testable import StreamVaultTelemetry

/// Locks, links and files that are not the publisher's.
@Suite("Locks and files of other processes", .timeLimit(.minutes(5)))
struct ForeignLockTests {
    /// Holds a lock of `fcntl(2)` on a file as long as it lives.
    private final class ForeignLock {
        private let file: FileDescriptor

        init(_ type: CInt, on path: String) throws {
            let access = type == F_RDLCK ? O_RDONLY : O_RDWR
            file = try FileDescriptor(opening: path, access | O_CREAT)
            var request = flock()
            request.l_type = Int16(type)
            #expect(fcntl(file.rawValue, 37, &request) == 0)  // F_OFD_SETLK
        }

        func release() { file.unlock() }
    }

    @Test("a read lock on the provisional file does not prevent a start")
    func readLock() throws {
        let directory = try TemporaryDirectory()
        let lock = try ForeignLock(F_RDLCK, on: "\(directory.path)/.test.telemetry.new")
        let publisher = try directory.startUnwatched()
        #expect(publisher.warning == nil)
        #expect(try directory.snapshot().verdict == .alive)
        #expect(directory.entries == ["test.telemetry"])
        withExtendedLifetime((lock, publisher)) {}
    }

    @Test("a write lock on the provisional file delays the publication, not the start")
    func writeLock() throws {
        let directory = try TemporaryDirectory()
        let lock = try ForeignLock(F_WRLCK, on: "\(directory.path)/.test.telemetry.new")
        let publisher = try directory.startUnwatched()
        #expect(publisher.warning?.contains("holds a lock on") == true)
        let counter = publisher.counter("test_total", "Test.")
        counter.add(3)
        #expect(publisher.check()?.problem?.contains("holds a lock on") == true)
        lock.release()
        #expect(publisher.check()?.published == .late)
        #expect(try directory.snapshot().value("test_total") == 3)
    }

    @Test(
        "a killed run whose file is locked is hung; the next run publishes when the lock is released"
    )
    func deadRun() throws {
        let directory = try TemporaryDirectory()
        do {
            let first = try directory.startUnwatched()
            first.counter("test_total", "Test.").add(40)
            // Just after the start of the machine.
            try directory.setStart(BootTime(nanoseconds: 1))
            try directory.setHeartbeat(BootTime(nanoseconds: 1))
        }
        let lock = try ForeignLock(F_WRLCK, on: directory.segmentPath())
        #expect(try directory.snapshot().verdict == .hung)
        let next = try directory.startUnwatched()
        #expect(next.warning?.contains("publishes nothing there") == true)
        next.counter("test_total", "Test.").add(2)
        #expect(next.check()?.problem?.contains("publishes nothing there") == true)
        lock.release()
        #expect(next.check()?.published == .late)
        let snapshot = try directory.snapshot()
        #expect(snapshot.value("test_total") == 42)
        #expect(snapshot.value("recorder_runs_total") == 2)
        #expect(snapshot.verdict == .alive)
    }

    @Test("a locked file that is no segment does not prevent a start")
    func garbage() throws {
        let directory = try TemporaryDirectory()
        try directory.write([1, 2, 3], to: "test.telemetry")
        let lock = try ForeignLock(F_WRLCK, on: directory.segmentPath())
        let publisher = try directory.startUnwatched()
        #expect(publisher.warning?.contains("publishes nothing there") == true)
        lock.release()
        #expect(publisher.check()?.published == .late)
    }

    @Test("a running recorder refuses a second one, also after it has published in a new file")
    func alive() throws {
        let directory = try TemporaryDirectory()
        let first = try directory.startUnwatched()
        unlink(directory.segmentPath())
        #expect(first.check()?.published == .removed)
        #expect(throws: PublisherError.nameTaken("test")) { try directory.startUnwatched() }
        withExtendedLifetime(first) {}
    }

    /// What may have the provisional name without being left by a start.
    private static let leftovers = [
        "hard link", "link", "link to nowhere", "pipe", "directory", "socket",
    ]

    @Test(
        "anything else with the provisional name is removed and never written to",
        arguments: leftovers
    )
    func provisional(kind: String) throws {
        let directory = try TemporaryDirectory()
        let provisional = "\(directory.path)/.test.telemetry.new"
        try directory.write([1, 2, 3], to: "precious")
        switch kind {
        case "hard link": #expect(link("\(directory.path)/precious", provisional) == 0)
        case "link": #expect(symlink("precious", provisional) == 0)
        case "link to nowhere": #expect(symlink("nowhere", provisional) == 0)
        case "pipe": #expect(mkfifo(provisional, 0o600) == 0)
        case "directory": #expect(mkdir(provisional, 0o700) == 0)
        default: #expect(mknod(provisional, S_IFSOCK | 0o600, 0) == 0)
        }
        let publisher = try directory.startUnwatched()
        #expect(publisher.warning == nil)
        #expect(try directory.bytes(of: "precious") == [1, 2, 3])
        #expect(directory.entries == ["precious", "test.telemetry"])
        #expect(try directory.snapshot().verdict == .alive)
    }

    @Test("a shutdown without heartbeats after its deadline is hung, although the lock is held")
    func silentShutdown() throws {
        let segment = PaperSegment()
        segment.state.change { lifecycle in
            lifecycle.state = .stopping
            lifecycle.requestedBoot = PaperSegment.stamp(10)
            lifecycle.deadline = PaperSegment.stamp(40)
        }
        segment.beat(at: 20)
        #expect(try segment.snapshot(isOwned: true, at: 45).verdict == .alive)
        #expect(try segment.snapshot(isOwned: true, at: 50).verdict == .alive)
        #expect(try segment.snapshot(isOwned: true, at: 50.1).verdict == .hung)
        segment.beat(at: 50)
        #expect(try segment.snapshot(isOwned: true, at: 55).verdict == .alive, "it shows life")
        segment.state.change { $0.deadline = BootTime(nanoseconds: 0) }
        #expect(try segment.snapshot(isOwned: true, at: 650).verdict == .alive)
        #expect(try segment.snapshot(isOwned: true, at: 651).verdict == .hung)
    }

    @Test("a run of another boot whose file another process locks becomes hung")
    func otherBoot() throws {
        let segment = PaperSegment()
        segment.state.change { $0.state = .recording }
        segment.beat(at: 20)
        let other = BootID(bytes: [UInt8](repeating: 9, count: 16))
        for (unchanged, verdict) in [(Duration.seconds(10), Verdict.alive), (.seconds(11), .hung)] {
            let snapshot = try Snapshot(
                of: segment.bytes,
                isOwned: true,
                now: PaperSegment.stamp(5),
                bootID: other,
                unchangedFor: unchanged
            )
            #expect(snapshot.verdict == verdict)
        }
    }
}
