import CLinux
import Glibc
import Synchronization

/// Starts programs; several may start at once, and none inherits a descriptor of another or of this process.
///
/// Nothing is locked meanwhile: the program's file may be on a mount that hangs, and only the thread that starts it waits.
enum Spawner {
    static func spawn(
        _ arguments: [String],
        inheriting files: [CInt]
    ) throws(SpawnError) -> ChildProcess {
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
    ) throws(SystemError) -> ChildProcess {
        let output = try Pipe()
        let errors = try Pipe()
        let outputWriter = try output.writer.aboveStandard()
        let errorsWriter = try errors.writer.aboveStandard()
        let environment = ChildEnvironment(mark: ProcessMark())
        var child: pid_t = 0
        // Above their numbers in the child, so that none overwrites another.
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
        return ChildProcess(
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

    /// A process group of its own, and signals as after a login: an ignored SIGINT would be inherited.
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

/// The children that this process started and has not reaped; nobody else may.
enum OwnChildren {
    private struct State {
        var identifiers: Set<pid_t> = []
        /// Starts that are under way: their children may be there, and even have ended.
        var starting = 0
        /// Children that were reaped meanwhile, and may have been among these.
        var reaped: [pid_t: ChildStatus] = [:]
    }

    private static let state = Mutex(State())

    /// Whether there are none, nor any about to be started.
    static var areGone: Bool {
        state.withLock { $0.identifiers.isEmpty && $0.starting == 0 }
    }

    static func beginStart() {
        state.withLock { $0.starting += 1 }
    }

    /// Notes the child, if the start has made one; its status, if it has ended and was taken for an orphan.
    static func endStart(of child: pid_t?) -> ChildStatus? {
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

    /// Reaps a child that has ended and that this process did not start; whether there was one.
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

/// Lets neither this process nor what it starts from now on gain privileges, with `PR_SET_NO_NEW_PRIVS`.
///
/// Programs with set-user-ID bits, such as `sudo`, and with file capabilities then run without these.
package func forbidNewPrivileges() throws(SystemError) {
    try retrying("prctl PR_SET_NO_NEW_PRIVS") { clinux_forbid_new_privileges() }
}
