package import Glibc

/// A program that runs as a child, in a process group of its own; killed and reaped when dropped.
package struct ChildProcess: ~Copyable {
    /// The child's process id, and the id of its group.
    package let identifier: pid_t
    /// What the program writes to its standard output.
    package let output: FileDescriptor
    /// What the program writes to its standard error.
    package let errors: FileDescriptor
    private let mark: ProcessMark
    private var status: ChildStatus?

    /// Starts the program named by the first of `arguments`, looked up in `PATH`, with `posix_spawnp(3)`.
    ///
    /// It gets this process's environment without the variables that begin with `STREAMVAULT_`, `/dev/null` as standard input, default signal dispositions, an empty
    /// signal mask, and no descriptor but the first three and those of `files`, which become 3, 4, … in it.
    package static func spawn(
        _ arguments: [String],
        inheriting files: [CInt] = []
    ) throws(SpawnError) -> ChildProcess {
        try Spawner.spawn(arguments, inheriting: files)
    }

    /// Takes over a child just started, and the reading ends of its pipes; `status` if it has been reaped already.
    init(
        identifier: pid_t,
        mark: ProcessMark,
        output: consuming FileDescriptor,
        errors: consuming FileDescriptor,
        status: ChildStatus?
    ) {
        (self.identifier, self.mark, self.status) = (identifier, mark, status)
        self.output = output
        self.errors = errors
    }

    deinit {
        guard status == nil else { return }
        signalAll(SIGKILL)
        _ = ChildStatus.reaping(identifier)
    }

    /// Sends `signal` to the program and to those it has started, also where these have left its process group.
    ///
    /// - Returns: those it has started, for `endDescendants`: without a mark they are found only while it runs.
    @discardableResult
    package borrowing func signalAll(_ signal: CInt) -> [ProcessEntry] {
        let found = Descendants.find(of: identifier, mark)
        let others = found.filter { getpgid($0.identifier) != identifier }
        // Only until the child is reaped: the kernel may then give its number to another group.
        if status == nil { _ = kill(-identifier, signal) }
        others.signal(signal)
        return found
    }

    /// Ends the programs that it has started and left behind: with SIGTERM, and after `patience` with SIGKILL.
    ///
    /// Before `wait`, while the number of the group is its own.
    package borrowing func endDescendants(
        _ known: [ProcessEntry] = [],
        within patience: Duration
    ) {
        let deadline = BootTime.now().advanced(by: patience)
        var found = Descendants.find(of: identifier, mark) + known.filter(\.isRunning)
        if found.isEmpty { return }
        found.signal(SIGTERM)
        found.waitForEnds(until: deadline)
        // Again, for what they have started meanwhile; what then is left cannot be ended.
        for _ in 0..<3 {
            found = Descendants.find(of: identifier, mark) + known.filter(\.isRunning)
            if found.isEmpty { return }
            found.signal(SIGKILL)
            found.waitForEnds(until: .now().advanced(by: .milliseconds(100)))
        }
    }

    /// Lets everything else run first, and so read and write first, with `setpriority(2)`: also what it will start.
    package borrowing func lowerPriority() {
        _ = setpriority(__priority_which_t(PRIO_PGRP.rawValue), id_t(identifier), 19)
    }

    /// Whether the program has ended; leaves it unreaped, so that its group can still be signalled.
    package borrowing func hasExited() -> Bool {
        guard status == nil else { return true }
        var information = unsafe siginfo_t()
        let result = unsafe waitid(
            P_PID,
            id_t(identifier),
            &information,
            WEXITED | WNOHANG | WNOWAIT
        )
        // An error means that another waiter has reaped it.
        return unsafe result == -1 ? errno != EINTR : information.si_signo != 0
    }

    /// Waits until the program has ended, and reaps it, with `waitpid(2)`.
    package mutating func wait() -> ChildStatus {
        let status = self.status ?? .reaping(identifier)
        self.status = status
        return status
    }
}

/// How a program ended.
package enum ChildStatus: Equatable, Sendable {
    /// By itself, with this exit code.
    case code(CInt)
    /// By this signal.
    case signal(CInt)
    /// In a way that is not known: another waiter has reaped it.
    case unknown
}

/// Why a program could not be started.
package enum SpawnError: Error, Equatable {
    /// There is no such file, in `PATH` or as given, or its interpreter is missing.
    case notFound(program: String)
    /// The file may not be executed.
    case notExecutable(program: String)
    case system(SystemError)
}

extension ChildStatus {
    fileprivate static func reaping(_ identifier: pid_t) -> ChildStatus {
        var status: CInt = 0
        defer { OwnChildren.remove(identifier) }
        do throws(SystemError) {
            try retrying("waitpid") { unsafe waitpid(identifier, &status, 0) }
        } catch {
            return .unknown
        }
        // `WIFSIGNALED` and `WEXITSTATUS` of <sys/wait.h>, which are macros.
        let signal = status & 0x7f
        return signal == 0 ? .code((status >> 8) & 0xff) : .signal(signal)
    }
}
