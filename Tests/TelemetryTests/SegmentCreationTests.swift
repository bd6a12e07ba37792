import Foundation
import Glibc
import Posix
import Testing

@testable import StreamVaultTelemetry

@Suite("The start of a run")
struct BirthTests {
    @Test(
        "a file that was left by a killed start is used again",
        arguments: [0, 1000, 1 << 20]
    )
    func leftover(size: Int) throws {
        let directory = try TemporaryDirectory()
        try directory.write([UInt8](repeating: 0xFF, count: size), to: ".test.telemetry.new")
        let publisher = try directory.start()
        #expect(publisher.warning == nil)
        #expect(directory.entries == ["test.telemetry"])
        #expect(try directory.snapshot().verdict == .alive)
        #expect(
            try directory.bytes().count == SegmentLayout(.small).fileSize,
            "nothing of the leftover is kept"
        )
    }

    @Test("a start that was killed before the rename does not change the counts")
    func killedBeforeRename() throws {
        let directory = try TemporaryDirectory()
        do { try directory.start().counter("test_total", "Test.").add(3) }
        let first = try directory.bytes()
        do { try directory.start().counter("test_total", "Test.").add(4) }
        // As if the second start was killed just before its rename.
        try directory.write(try directory.bytes(), to: ".test.telemetry.new")
        try directory.write(first, to: "test.telemetry")
        let publisher = try directory.start()
        let snapshot = try directory.snapshot()
        #expect(snapshot.value("test_total") == 3)
        #expect(snapshot.value("recorder_runs_total") == 2)
        withExtendedLifetime(publisher) {}
    }

    @Test(
        "if the file cannot be created, the run works in private memory and reports why",
        arguments: ["/nonexistent/telemetry", "/proc", "/dev/null"]
    )
    func unusable(directory: String) throws {
        let publisher = try Publisher(directory: directory, name: "test", version: "1")
        #expect(publisher.warning?.hasPrefix("telemetry is not published: ") == true)
        useAll(publisher)
    }

    @Test("a directory with the name of the file is not changed")
    func notAFile() throws {
        let directory = try TemporaryDirectory()
        try FileSystem.makeDirectory(directory.segmentPath())
        let publisher = try directory.start()
        #expect(publisher.warning?.hasPrefix("telemetry is not published: rename") == true)
        useAll(publisher)
        #expect(directory.entries == ["test.telemetry"], "nothing else is left behind")
    }

    @Test("a FIFO with the name of the file does not block the start", .timeLimit(.minutes(5)))
    func pipe() throws {
        let directory = try TemporaryDirectory()
        #expect(mkfifo(directory.segmentPath(), 0o644) == 0)
        let publisher = try directory.start()
        #expect(try directory.snapshot().verdict == .alive)
        withExtendedLifetime(publisher) {}
    }

    @Test(
        "a file that may not grow is removed, and no store raises SIGBUS",
        arguments: [0, 4096, 100_000]
    )
    func confined(bytes: Int) throws {
        let directory = try TemporaryDirectory()
        let fixture = try Fixture("confined", directory.path, "\(bytes)")
        let lines = try fixture.lines()
        #expect(lines.first?.hasPrefix("telemetry is not published: posix_fallocate") == true)
        #expect(lines.last == "recorded")
        #expect(fixture.wait() == .code(0))
        #expect(directory.entries.isEmpty)
    }

    /// Whether this process may make a mount namespace: a container may not.
    static let canMount: Bool = {
        let words = ["unshare", "-Urm", "mount", "-t", "tmpfs", "x", "/mnt"]
        guard let shell = try? Fixture(running: words)
        else { return false }
        return shell.wait() == .code(0)
    }()

    @Test(
        "a recorder on a full or read-only tmpfs starts and leaves no file",
        arguments: [
            ("size=64k", "true", "posix_fallocate"),
            (
                "size=1m", "dd if=/dev/zero of=/mnt/full bs=1k 2>/dev/null; rm -f /mnt/x",
                "posix_fallocate"
            ),
            ("size=1m,ro", "true", "open"),
        ]
    )
    func tmpfs(options: String, preparation: String, call: String) throws {
        // Where no mount is allowed, `confined` alone shows it.
        guard Self.canMount else { return }
        let script = """
            mount -t tmpfs -o \(options) x /mnt; \(preparation); $0 confined /mnt test 10000000
            ls -A /mnt
            """
        let shell = try Fixture(running: ["unshare", "-Urm", "sh", "-c", script, Fixture.program])
        let lines = try shell.lines()
        #expect(lines.first?.hasPrefix("telemetry is not published: \(call)") == true, "\(lines)")
        #expect(lines.dropFirst().first == "recorded")
        #expect(lines.dropFirst(2).allSatisfy { $0 == "full" })
    }

    @Test("names and phases that a segment cannot contain are refused")
    func invalid() throws {
        let directory = try TemporaryDirectory()
        for name in ["", "-a", "a-", "A", "a/b", "..", String(repeating: "a", count: 64)] {
            #expect(throws: PublisherError.invalidName(name)) {
                try Publisher(directory: directory.path, name: name, version: "1")
            }
        }
        for phases in [
            ["a", "a"], [""], [String(repeating: "a", count: 32)], (0..<17).map { "\($0)" },
        ] {
            #expect(throws: PublisherError.invalidPhases) { try directory.start(phases: phases) }
        }
        #expect(directory.entries.isEmpty)
    }

    private func useAll(_ publisher: Publisher) {
        publisher.counter("test_total", "Test.").add()
        publisher.gauge("test", "Test.").set(.nan)
        publisher.histogram("test_seconds", "Test.").observe(.seconds(3))
        publisher.startRecording(id: 1, stream: "a", path: "/a", container: "ts").end(.failed)
        publisher.beginShutdown(signal: 15, gracePeriod: nil)
        publisher.finish(exitStatus: 0)
    }
}
