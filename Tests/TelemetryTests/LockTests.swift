import Glibc
import Posix
import Testing

@testable import StreamVaultTelemetry

@Suite("The lock", .timeLimit(.minutes(5)))
struct LockTests {
    @Test("is visible to other processes, refuses a second recorder, and is released by SIGKILL")
    func life() throws {
        let directory = try TemporaryDirectory()
        let first = try Fixture("hold", directory.path)
        #expect(try first.line() == "running")
        let before = try directory.bytes()
        #expect(try directory.snapshot().isOwned)
        let second = try Fixture("hold", directory.path)
        #expect(
            try second.line()?.hasPrefix("refused: a recorder named \"test\" is already") == true
        )
        #expect(second.wait() == .code(1))
        #expect(throws: PublisherError.nameTaken("test")) { try directory.start() }
        #expect(try directory.bytes().count == before.count)
        #expect(directory.entries == ["test.telemetry"])
        first.killAlone()
        let dead = try directory.snapshot()
        #expect(!dead.isOwned)
        #expect(dead.verdict == .ended(.crashed))
        let third = try directory.start()
        #expect(try directory.snapshot().value("crashes_total") == 1)
        withExtendedLifetime(third) {}
    }

    @Test("a stopped process keeps it")
    func stopped() throws {
        let directory = try TemporaryDirectory()
        let first = try Fixture("hold", directory.path)
        #expect(try first.line() == "running")
        first.stop()
        #expect(try directory.snapshot().verdict == .alive)
        #expect(throws: PublisherError.nameTaken("test")) { try directory.start() }
    }

    @Test("is not inherited by children")
    func children() throws {
        let directory = try TemporaryDirectory()
        let parent = try Fixture("parent", directory.path)
        #expect(try parent.line() == "running")
        let words = try #require(try parent.line()).split(separator: " ")
        let child = try #require(words.last.flatMap { pid_t($0) })
        try #require(child > 1)
        defer { _ = kill(child, SIGKILL) }
        parent.killAlone()
        #expect(kill(child, 0) == 0, "the child lives")
        #expect(try !directory.snapshot().isOwned)
        #expect(try directory.start().warning == nil)
    }

    @Test(
        "a process that may only read the file can neither look like the recorder nor prevent its start"
    )
    func readLock() throws {
        let directory = try TemporaryDirectory()
        do { _ = try directory.start() }
        let file = try FileDescriptor(opening: directory.segmentPath(), O_RDONLY)
        var request = flock()
        request.l_type = Int16(F_RDLCK)
        #expect(fcntl(file.rawValue, 37, &request) == 0)  // F_OFD_SETLK
        #expect(try !directory.snapshot().isOwned)
        let publisher = try directory.start()
        #expect(publisher.warning == nil)
        withExtendedLifetime(file.rawValue) {}
    }

    @Test("of many that start at once, one runs and the others are refused")
    func race() throws {
        let directory = try TemporaryDirectory()
        let rounds = 8
        for round in 0..<rounds {
            let starters = try (0..<6).map { _ in try Fixture("hold", directory.path) }
            let lines = try starters.map { try $0.line() ?? "" }
            #expect(lines.count { $0 == "running" } == 1, "\(lines)")
            #expect(lines.count { $0.hasPrefix("refused") } == starters.count - 1, "\(lines)")
            let snapshot = try directory.snapshot()
            #expect(snapshot.verdict == .alive)
            #expect(snapshot.value("recorder_runs_total") == UInt64(round + 1))
            #expect(snapshot.value("crashes_total") == UInt64(round))
            #expect(directory.entries == ["test.telemetry"])
            for starter in starters { starter.killAlone() }
        }
    }
}
