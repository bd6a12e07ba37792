package import CLinux
import Glibc
import Synchronization

/// A program that runs as a child, in its own process group; killed and reaped if it is dropped.
package struct Subprocess: ~Copyable {
    /// The child's process id, and the id of its group.
    package let identifier: pid_t
    /// What the program writes to its standard output.
    package let output: FileDescriptor
    /// What the program writes to its standard error.
    package let errors: FileDescriptor
    private let mark: ProcessMark
    private var status: TerminationStatus?
    /// Of `pidfd_open(2)`; `nil` if there was no descriptor left for it.
    private let exit: FileDescriptor?

    /// Starts the program named by the first of `arguments`, looked up in `PATH`, with `posix_spawnp(3)`.
    ///
    /// It gets this process's environment without the variables that begin with `STREAMVAULT_`, `/dev/null` as standard input, default signal dispositions, an empty
    /// signal mask, and no descriptor but the first three and those of `files`, which become 3, 4, … in it.
    package static func spawn(
        _ arguments: [String],
        inheriting files: [CInt] = []
    ) throws(SpawnError) -> Subprocess {
        try Spawner.spawn(arguments, inheriting: files)
    }

    /// Adopts a child that was just started, and the reading ends of its pipes; `status` if it was reaped already.
    init(
        identifier: pid_t,
        mark: ProcessMark,
        output: consuming FileDescriptor,
        errors: consuming FileDescriptor,
        status: TerminationStatus?
    ) {
        (self.identifier, self.mark, self.status) = (identifier, mark, status)
        self.output = output
        self.errors = errors
        let descriptor = clinux_pidfd_open(identifier)
        exit = descriptor < 0 ? nil : FileDescriptor(adopting: descriptor)
    }

    deinit {
        guard status == nil else { return }
        signalAll(SIGKILL)
        _ = TerminationStatus.reaping(identifier)
    }

    /// Sends `signal` to the program and to its descendants, also to those that have left its process group.
    ///
    /// - Returns: the descendants, for `endDescendants`: those without a mark are found only while the program runs.
    @discardableResult
    package borrowing func signalAll(_ signal: CInt) -> [ProcessEntry] {
        let found = Descendants.find(of: identifier, mark)
        let others = found.filter { getpgid($0.identifier) != identifier }
        // Not once the child is reaped: the kernel may give its number to another group.
        if status == nil { _ = kill(-identifier, signal) }
        others.signal(signal)
        return found
    }

    /// Ends the programs that it has started and left behind: with SIGTERM, and after `timeout` with SIGKILL.
    ///
    /// To be called before `wait`, while no other group can have the number.
    package borrowing func endDescendants(
        _ known: [ProcessEntry] = [],
        within timeout: Duration
    ) {
        let deadline = BootTime.now().advanced(by: timeout)
        var found = Descendants.find(of: identifier, mark) + known.filter(\.isRunning)
        if found.isEmpty { return }
        found.signal(SIGTERM)
        found.waitForEnds(until: deadline)
        // Repeated for what they have started meanwhile; what is left then cannot be ended.
        for _ in 0..<3 {
            found = Descendants.find(of: identifier, mark) + known.filter(\.isRunning)
            if found.isEmpty { return }
            found.signal(SIGKILL)
            found.waitForEnds(until: .now().advanced(by: .milliseconds(100)))
        }
    }

    /// Gives the program, and all that it will start, the lowest priority for CPU and disk, with `setpriority(2)`.
    package borrowing func lowerPriority() {
        _ = setpriority(__priority_which_t(PRIO_PGRP.rawValue), id_t(identifier), 19)
    }

    /// Readable once the program has ended; `nil` if that has to be asked for with `hasExited`.
    package var exitDescriptor: CInt? {
        switch exit {
        case .some(let exit): exit.rawValue
        case nil: nil
        }
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
    package mutating func wait() -> TerminationStatus {
        let status = self.status ?? .reaping(identifier)
        self.status = status
        return status
    }
}

/// How a program ended.
package enum TerminationStatus: Equatable, Sendable {
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

extension TerminationStatus {
    fileprivate static func reaping(_ identifier: pid_t) -> TerminationStatus {
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

/// Starts programs, several at once if need be; none inherits a descriptor of another or of this process.
///
/// No lock is held meanwhile: the program's file may be on a mount that hangs, and only the thread that starts it waits then.
enum Spawner {
    static func spawn(
        _ arguments: [String],
        inheriting files: [CInt]
    ) throws(SpawnError) -> Subprocess {
        guard let program = arguments.first else { throw .notFound(program: "") }
        do throws(SystemError) {
            return try start(arguments, inheriting: files)
        } catch {
            throw SpawnError(error, program: program)
        }
    }

    private static func start(
        _ arguments: [String],
        inheriting files: [CInt]
    ) throws(SystemError) -> Subprocess {
        let output = try Pipe()
        let errors = try Pipe()
        let outputWriter = try output.writer.aboveStandard()
        let errorsWriter = try errors.writer.aboveStandard()
        let environment = ChildEnvironment(mark: ProcessMark())
        var child: pid_t = 0
        // Above their numbers in the child, so that no copy overwrites another file.
        var copies: [CInt] = []
        defer { for copy in copies { close(copy) } }
        for file in files {
            let first = CInt(3 + files.count)
            copies.append(
                try retrying("fcntl F_DUPFD_CLOEXEC") { fcntl(file, F_DUPFD_CLOEXEC, first) }
            )
        }
        OwnChildren.beginStart()
        let code = start(
            arguments,
            environment,
            outputWriter.rawValue,
            errorsWriter.rawValue,
            inheriting: copies,
            &child
        )
        let status = OwnChildren.endStart(of: code == 0 ? child : nil)
        guard code == 0 else { throw SystemError(call: "posix_spawnp", code: code) }
        return Subprocess(
            identifier: child,
            mark: environment.mark,
            output: output.reader,
            errors: errors.reader,
            status: status
        )
    }

    /// `posix_spawnp(3)`; the result is an `errno`, or 0.
    private static func start(
        _ arguments: [String],
        _ environment: ChildEnvironment,
        _ output: CInt,
        _ errors: CInt,
        inheriting files: [CInt],
        _ child: inout pid_t
    ) -> CInt {
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        unsafe posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        unsafe posix_spawn_file_actions_adddup2(&actions, output, 1)
        unsafe posix_spawn_file_actions_adddup2(&actions, errors, 2)
        for (number, file) in files.enumerated() {
            unsafe posix_spawn_file_actions_adddup2(&actions, file, CInt(3 + number))
        }
        // In the child, so that also what other threads open meanwhile is closed.
        unsafe clinux_addclosefrom(&actions, CInt(3 + files.count))

        var attributes = posix_spawnattr_t()
        unsafe posix_spawnattr_init(&attributes)
        defer { unsafe posix_spawnattr_destroy(&attributes) }
        unsafe detach(&attributes)

        var words = unsafe arguments.map { unsafe strdup($0) } + [nil]
        defer { for index in unsafe words.indices { unsafe free(words[index]) } }
        return unsafe environment.withEntries { entries in
            unsafe posix_spawnp(&child, arguments[0], &actions, &attributes, &words, entries)
        }
    }

    /// Sets a process group of its own, and signals as after a login: an ignored SIGINT would be inherited.
    private static func detach(_ attributes: UnsafeMutablePointer<posix_spawnattr_t>) {
        var signals = sigset_t()
        unsafe sigemptyset(&signals)
        unsafe posix_spawnattr_setsigmask(attributes, &signals)
        unsafe sigfillset(&signals)
        unsafe posix_spawnattr_setsigdefault(attributes, &signals)
        unsafe posix_spawnattr_setpgroup(attributes, 0)
        let flags = POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK
        unsafe posix_spawnattr_setflags(attributes, Int16(flags))
    }
}

extension FileDescriptor {
    /// The same open file under a number above 2, which the child's own three cannot overwrite.
    ///
    /// This process may have been started with those three closed.
    fileprivate consuming func aboveStandard() throws(SystemError) -> FileDescriptor {
        if rawValue > 2 { return self }
        let moved = try retrying("fcntl F_DUPFD_CLOEXEC") { fcntl(rawValue, F_DUPFD_CLOEXEC, 3) }
        return FileDescriptor(adopting: moved)
    }
}

extension SpawnError {
    fileprivate init(_ error: SystemError, program: String) {
        switch error.code {
        case ENOENT: self = .notFound(program: program)
        case EACCES: self = .notExecutable(program: program)
        default: self = .system(error)
        }
    }
}

/// The environment of a program that this process starts: without this program's own variables, and with a mark.
struct ChildEnvironment {
    /// Marks the child and all that it starts, as long as these keep their environment.
    let mark: ProcessMark

    /// Lends the entries, `NAME=value`, with a null pointer at the end.
    func withEntries<Value>(
        _ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> Value
    ) -> Value {
        var entries: [UnsafeMutablePointer<CChar>?] = unsafe []
        var next = unsafe clinux_environment()
        while let entry = unsafe next?.pointee {
            unsafe next = next?.advanced(by: 1)
            if unsafe strncmp(entry, "STREAMVAULT_", 12) != 0 { unsafe entries.append(entry) }
        }
        let own = unsafe strdup(mark.entry)
        defer { unsafe free(own) }
        unsafe entries += [own, nil]
        return unsafe entries.withUnsafeMutableBufferPointer { buffer in
            // Not empty: it ends in a null pointer.
            guard let start = buffer.baseAddress else { preconditionFailure() }
            return unsafe body(start)
        }
    }
}

/// The children that this process has started and not reaped; only their owners reap them.
enum OwnChildren {
    private struct State {
        var identifiers: Set<pid_t> = []
        /// Starts in progress: their children may exist, and may even have ended.
        var starting = 0
        /// Children that were reaped meanwhile, and may belong to a start in progress.
        var reaped: [pid_t: TerminationStatus] = [:]
    }

    private static let state = Mutex(State())

    /// Whether there are none, and no start is in progress.
    static var areGone: Bool {
        state.withLock { $0.identifiers.isEmpty && $0.starting == 0 }
    }

    static func beginStart() {
        state.withLock { $0.starting += 1 }
    }

    /// Notes the child, if there is one; returns its status if it has ended and was reaped as an orphan.
    static func endStart(of child: pid_t?) -> TerminationStatus? {
        state.withLock { state in
            state.starting -= 1
            defer { if state.starting == 0 { state.reaped = [:] } }
            guard let child else { return nil }
            // An orphan may have had the same number before.
            if let status = state.reaped.removeValue(forKey: child), !isChild(child) {
                return status
            }
            state.identifiers.insert(child)
            return nil
        }
    }

    static func remove(_ child: pid_t) {
        state.withLock { _ = $0.identifiers.remove(child) }
    }

    /// Reaps one ended child that this process did not start; whether there was one.
    static func reapOrphan() -> Bool {
        state.withLock { state in
            var information = unsafe siginfo_t()
            let look = WEXITED | WNOHANG | WNOWAIT
            guard unsafe waitid(P_ALL, 0, &information, look) == 0 else { return false }
            // `si_pid` of <signal.h>, which is a macro; 0 when no child has ended.
            let child = unsafe information._sifields._sigchld.si_pid
            guard child != 0, !state.identifiers.contains(child),
                unsafe waitid(P_PID, id_t(child), &information, WEXITED | WNOHANG) == 0
            else { return false }
            let status = unsafe information._sifields._sigchld.si_status
            // `CLD_EXITED` of <signal.h>; the others are `CLD_KILLED` and `CLD_DUMPED`.
            let isExit = unsafe information.si_code == 1
            if state.starting > 0 { state.reaped[child] = isExit ? .code(status) : .signal(status) }
            return true
        }
    }

    private static func isChild(_ identifier: pid_t) -> Bool {
        var information = unsafe siginfo_t()
        return unsafe waitid(P_PID, id_t(identifier), &information, WEXITED | WNOHANG | WNOWAIT)
            == 0
    }
}
