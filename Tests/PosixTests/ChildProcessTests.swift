import Glibc
import Posix
import Testing

@Suite("child processes", .timeLimit(.minutes(5)))
struct ChildProcessTests {
    @Test(
        "how the program ended is decoded",
        arguments: [
            ("exit 0", .code(0)), ("exit 3", .code(3)), ("kill -9 $$", .signal(SIGKILL)),
            ("kill -2 $$", .signal(SIGINT)),
        ] as [(String, ChildStatus)]
    )
    func status(of script: String, is expected: ChildStatus) throws {
        var child = try ChildProcess.spawn(["sh", "-c", script])
        let first = child.wait()
        #expect(first == expected)
        let second = child.wait()
        #expect(second == expected, "a second wait repeats the answer")
    }

    @Test("output and errors arrive on their own pipes")
    func pipes() throws {
        let child = try ChildProcess.spawn(["sh", "-c", "echo out; echo err >&2; cat"])
        #expect(try readAll(child.output) == "out\n")
        #expect(try readAll(child.errors) == "err\n")
    }

    @Test("a program that is not there, and one that may not run, are told apart")
    func unspawnable() {
        #expect(throws: SpawnError.notFound(program: "no-such-program")) {
            _ = try ChildProcess.spawn(["no-such-program"])
        }
        #expect(throws: SpawnError.notExecutable(program: "/etc/passwd")) {
            _ = try ChildProcess.spawn(["/etc/passwd"])
        }
        #expect(throws: SpawnError.notFound(program: "")) { _ = try ChildProcess.spawn([]) }
    }

    @Test("the program leads a group of its own and ignores or blocks no signal")
    func group() throws {
        _ = signal(SIGPIPE, SIG_IGN)
        let script = "cut -d' ' -f5 /proc/$$/stat; sed -n 's/^Sig[BI].*\\t//p' /proc/self/status"
        let child = try ChildProcess.spawn(["sh", "-c", script])
        let lines = try readAll(child.output).split(separator: "\n").map(String.init)
        #expect(lines.first == "\(child.identifier)")
        // Above the 31 standard signals are those that the C library keeps to itself.
        let standard = lines.dropFirst().map { UInt64($0, radix: 16).map { $0 & 0x7fff_ffff } }
        #expect(standard == [0, 0], "blocked, ignored")
    }

    @Test("no descriptor but the first three reaches the program, close-on-exec or not")
    func descriptors() throws {
        let leaking = FileDescriptor(adopting: open("/dev/zero", O_RDONLY))
        let flags = fcntl(leaking.rawValue, F_GETFD)
        #expect(flags & FD_CLOEXEC == 0)
        let child = try ChildProcess.spawn(["ls", "/proc/self/fd"])
        let numbers = try readAll(child.output).split(separator: "\n")
        #expect(numbers == ["0", "1", "2", "3"], "3 is the directory that ls itself reads")
    }

    @Test("programs started at the same time do not hold each other's pipes")
    func concurrentSpawns() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    for _ in 0..<10 {
                        let long = try ChildProcess.spawn(["sleep", "100"])
                        let short = try ChildProcess.spawn(["echo", "done"])
                        let text = try readAll(short.output)
                        #expect(text == "done\n")
                        let ended = long.hasExited()
                        #expect(!ended)
                    }
                }
            }
            try await group.waitForAll()
        }
    }

    @Test("a dropped child is killed with its group, and reaped")
    func dropped() throws {
        let identifier: pid_t
        do {
            let child = try ChildProcess.spawn(["sh", "-c", "sleep 100 & echo up; wait"])
            identifier = child.identifier
            var first: [UInt8] = [0]
            _ = try first.withUnsafeMutableBytes { try child.output.read(into: $0) }
        }
        #expect(kill(identifier, 0) == -1 && errno == ESRCH)
    }

    @Test("an ended program is seen to have ended before it is reaped")
    func exited() throws {
        var child = try ChildProcess.spawn(["true"])
        _ = try readAll(child.output)
        while !child.hasExited() { sched_yield() }
        #expect(kill(child.identifier, 0) == 0, "its number is still its own")
        let status = child.wait()
        #expect(status == .code(0))
    }
}

/// Reads until every writer has closed.
private func readAll(_ descriptor: borrowing FileDescriptor) throws -> String {
    var text: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while true {
        let count = try buffer.withUnsafeMutableBytes { try descriptor.read(into: $0) }
        if count == 0 { return String(decoding: text, as: UTF8.self) }
        text += buffer[..<count]
    }
}
