import Glibc
import Testing

@testable import Posix

@Suite("child processes", .timeLimit(.minutes(5)))
struct SubprocessTests {
    @Test(
        "how the program ended is decoded",
        arguments: [
            ("exit 0", .code(0)), ("exit 3", .code(3)), ("kill -9 $$", .signal(SIGKILL)),
            ("kill -2 $$", .signal(SIGINT)),
        ] as [(String, TerminationStatus)]
    )
    func status(of script: String, is expected: TerminationStatus) throws {
        var child = try Subprocess.spawn(["sh", "-c", script])
        let first = child.wait()
        #expect(first == expected)
        let second = child.wait()
        #expect(second == expected, "a second wait repeats the answer")
    }

    @Test("output and errors arrive on their own pipes")
    func pipes() throws {
        let child = try Subprocess.spawn(["sh", "-c", "echo out; echo err >&2; cat"])
        #expect(try readAll(child.output) == "out\n")
        #expect(try readAll(child.errors) == "err\n")
    }

    @Test("a program that is not there, and one that may not run, are told apart")
    func unspawnable() {
        #expect(throws: SpawnError.notFound(program: "no-such-program")) {
            _ = try Subprocess.spawn(["no-such-program"])
        }
        #expect(throws: SpawnError.notExecutable(program: "/etc/passwd")) {
            _ = try Subprocess.spawn(["/etc/passwd"])
        }
        #expect(throws: SpawnError.notFound(program: "")) { _ = try Subprocess.spawn([]) }
    }

    @Test("the program leads a group of its own and ignores or blocks no signal")
    func group() throws {
        _ = signal(SIGPIPE, SIG_IGN)
        let script = "cut -d' ' -f5 /proc/$$/stat; sed -n 's/^Sig[BI].*\\t//p' /proc/self/status"
        let child = try Subprocess.spawn(["sh", "-c", script])
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
        let child = try Subprocess.spawn(["ls", "/proc/self/fd"])
        let numbers = try readAll(child.output).split(separator: "\n")
        #expect(numbers == ["0", "1", "2", "3"], "3 is the directory that ls itself reads")
    }

    @Test("programs started at the same time do not hold each other's pipes")
    func concurrentSpawns() async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    for _ in 0..<10 {
                        let long = try Subprocess.spawn(["sleep", "100"])
                        let short = try Subprocess.spawn(["echo", "done"])
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
            let child = try Subprocess.spawn(["sh", "-c", "sleep 100 & echo up; wait"])
            identifier = child.identifier
            var first: [UInt8] = [0]
            _ = try first.withUnsafeMutableBytes { try child.output.read(into: $0) }
        }
        #expect(kill(identifier, 0) == -1 && errno == ESRCH)
    }

    @Test("an ended program is seen to have ended before it is reaped")
    func exited() throws {
        var child = try Subprocess.spawn(["true"])
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

@Suite("what a program has started, and what it is told", .timeLimit(.minutes(5)))
struct DescendantTests {
    /// How a program leaves its process group, by shell; `%` is what it then does.
    private static let departures = [
        "setsid sh -c '%' &", "(setsid sh -c '%' &)", "setsid setsid sh -c '%' &",
        "python3 -c 'import os, sys\nif os.fork() == 0:\n os.setsid()\n if os.fork() == 0:\n  os.execvp(\"sh\", [\"sh\", \"-c\", sys.argv[1]])' '%'",
        "nohup setsid sh -c '%' >/dev/null 2>&1 &", "env -i PATH=$PATH setsid sh -c '%' &",
    ]

    @Test("a program that has left the process group is told, and ends", arguments: departures)
    func departed(by departure: String) throws {
        // Writes its number, by a name that does not lie in an environment.
        let file = try makePipe("departed")
        defer { unlink(file) }
        let script = departure.replacing(
            "%",
            with: "echo $$ > \(file); exec sleep 1000"
        )
        var child = try Subprocess.spawn(["sh", "-c", "\(script)\necho up; exec sleep 1000"])
        let departed = try number(in: file)
        #expect(getpgid(departed) != child.identifier, "it has left")
        child.signalAll(SIGTERM)
        let status = child.wait()
        #expect(status == .signal(SIGTERM))
        #expect(isGone(departed), "\(departed)")
    }

    @Test("what a program leaves behind is ended, with SIGKILL where SIGTERM is not heeded")
    func leftBehind() throws {
        let file = try makePipe("left")
        defer { unlink(file) }
        let stubborn =
            "trap \"\" TERM; echo $$ > \(file); while :; do sleep 1; done"
        var child = try Subprocess.spawn([
            "sh", "-c", "setsid sh -c '\(stubborn)' > /dev/null 2>&1 &",
        ])
        let left = try number(in: file)
        while !child.hasExited() { sched_yield() }
        child.endDescendants(within: .milliseconds(50))
        let status = child.wait()
        #expect(status == .code(0))
        #expect(isGone(left))
    }

    @Test("a process that another has taken the number of is not told")
    func otherProcess() throws {
        let entry = try #require(ProcessEntry(getpid()))
        let isOpen = entry.open() != nil
        #expect(isOpen)
        var later = entry
        later.startTicks += 1
        let isOther = later.open() == nil
        #expect(isOther)
        #expect(ProcessEntry(0) == nil && ProcessEntry(-1) == nil)
    }

    @Test("variables of this program are kept from children, all others reach them")
    func environment() throws {
        setenv("STREAMVAULT_TEST_TOKEN", "hidden", 1)
        setenv("STREAMVAULTX", "shown", 1)
        let child = try Subprocess.spawn(["env"])
        let text = try readAll(child.output)
        let names = text.split(separator: "\n").compactMap { $0.split(separator: "=").first }
        #expect(names.filter { $0.hasPrefix("STREAMVAULT_") } == ["STREAMVAULT_CHILD"])
        #expect(text.contains("STREAMVAULTX=shown") && text.contains("PATH="))
    }

    @Test(
        "secrets are told by their names",
        arguments: [
            ("STREAMVAULT_WEB_BEARER_TOKEN", true), ("STREAMVAULT_TWITCH_CLIENT_SECRET", true),
            ("STREAMVAULT_TWITCH_EVENTSUB_SECRET", true), ("STREAMVAULT_X_PASSWORD", true),
            ("STREAMVAULT_WEB_BEARER_TOKEN_FILE", false), ("STREAMVAULT_RECORDER_NAME", false),
            ("STREAMVAULT_KEYS", false), ("WEB_BEARER_TOKEN", false), ("", false),
        ]
    )
    func secrets(name: String, isIt: Bool) {
        #expect(isSecret(name) == isIt)
    }

    @Test("programs of an earlier run are told from those of one that still runs")
    func leftovers() throws {
        let own = try #require(ProcessEntry(getpid()))
        let owner = "cam-\(UInt64.random(in: .min ... .max)):1.2"
        /// Waits for ever, with a mark as another process would have set it.
        func start(_ mark: String) throws -> Subprocess {
            let child = try Subprocess.spawn([
                "env", "STREAMVAULT_CHILD=\(mark)", "sh", "-c", "echo up; exec sleep 1000",
            ])
            _ = try child.output.bytes(upTo: 3)
            return child
        }
        var leftover = try start("dead-1/\(owner)/\(own.identifier).1")
        let living = try start("alive-1/\(owner)/\(own.identifier).\(own.startTicks)")
        let another = try start("dead-2/other:1.2/\(own.identifier).1")
        let malformed = try start("dead-3/\(owner)/x.1")
        let result = Leftovers.end(of: owner, within: .seconds(10))
        #expect(result == (1, 0))
        let status = leftover.wait()
        #expect(status == .signal(SIGTERM))
        #expect(!living.hasExited() && !another.hasExited() && !malformed.hasExited())
    }

    @Test("a start that hangs holds up neither other starts nor the reaping of orphans")
    func hangingStart() async {
        await #expect(processExitsWith: .success) {
            OwnChildren.beginStart()
            var child = try Subprocess.spawn(["true"])
            let ended = child.wait()
            try #require(ended == .code(0))
            let orphan = try startUnnoticed("exit 0")
            while kill(orphan, 0) == 0 { Orphans.reap() }
        }
    }

    @Test("a child that is reaped as an orphan while it starts keeps its status")
    func takenForOrphan() async {
        await #expect(processExitsWith: .success) {
            for (script, expected) in [("exit 7", .code(7)), ("kill -9 $$", .signal(SIGKILL))]
                as [(String, TerminationStatus)]
            {
                OwnChildren.beginStart()
                let child = try startUnnoticed(script)
                while kill(child, 0) == 0 { Orphans.reap() }
                try #require(OwnChildren.endStart(of: child) == expected)
            }
            OwnChildren.beginStart()
            let running = try startUnnoticed("exec sleep 1000")
            try #require(OwnChildren.endStart(of: running) == nil)
            try #require(!OwnChildren.areGone)
            kill(running, SIGKILL)
        }
    }

    @Test(
        "a subreaper ends what has left its programs, also without a mark, and spares what was there before"
    )
    func strays() async {
        await #expect(processExitsWith: .success) {
            Orphans.adopt()
            let file = try makePipe("stray")
            let stray = "echo $$ > \(file); exec sleep 1000"
            var child = try Subprocess.spawn([
                "sh", "-c", "env -i PATH=$PATH setsid sh -c '\(stray)' > /dev/null 2>&1 &",
            ])
            let left = try number(in: file)
            unlink(file)
            let ended = child.wait()
            try #require(ended == .code(0))
            while !OwnChildren.areGone { sched_yield() }
            while kill(left, 0) == 0 { Orphans.reap() }
        }
        await #expect(processExitsWith: .success) {
            let before = try startUnnoticed("exec sleep 1000")
            Orphans.adopt()
            Orphans.reap()
            try #require(kill(before, 0) == 0 && ProcessEntry(before)?.hasEnded == false)
            kill(before, SIGKILL)
        }
    }

    @Test("a secret cannot be read from the outside once the environment was read")
    func erased() async {
        await #expect(processExitsWith: .success) {
            // As the kernel has it: of a program that was started with the secret.
            let name = "STREAMVAULT_WEB_BEARER_TOKEN"
            setenv(name, "hidden-value", 1)
            let kept = getenv(name)
            let variables = processEnvironment()
            try #require(variables[name] == "hidden-value")
            try #require(getenv(name) == nil)
            try #require(kept.map { strlen($0) } == 0)
        }
    }
}

/// Starts a shell as somebody else's code would; its number.
private func startUnnoticed(_ script: String) throws -> pid_t {
    var child: pid_t = 0
    let texts = ["sh", "-c", script]
    let words = texts.map { strdup($0) as UnsafeMutablePointer<CChar>? } + [nil]
    defer { for word in words { free(word) } }
    let code = posix_spawn(&child, "/bin/sh", nil, nil, words, nil)
    try #require(code == 0)
    return child
}

/// A pipe with a name, for a number that a program writes; the caller removes it.
private func makePipe(_ name: String) throws -> String {
    let path = "/tmp/streamvault-\(name)-\(UInt64.random(in: .min ... .max))"
    try retrying("mkfifo") { mkfifo(path, 0o600) }
    return path
}

/// Waits for a number that is written to a pipe.
private func number(in path: String) throws -> pid_t {
    let bytes = try FileDescriptor(opening: path, O_RDONLY).readAll(atMost: 100) ?? []
    return try #require(pid_t(String(decoding: bytes, as: UTF8.self).filter(\.isNumber)))
}

/// Waits until a process has ended, reaped or not.
private func isGone(_ identifier: pid_t) -> Bool {
    guard let entry = ProcessEntry(identifier) else { return true }
    [entry].waitForEnds(until: .now().advanced(by: .seconds(60)))
    return !entry.isRunning
}

extension FileDescriptor {
    fileprivate borrowing func bytes(upTo count: Int) throws -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < count {
            var chunk = [UInt8](repeating: 0, count: count - bytes.count)
            let read = try chunk.withUnsafeMutableBytes { try self.read(into: $0) }
            try #require(read > 0)
            bytes += chunk[..<read]
        }
        return bytes
    }
}
