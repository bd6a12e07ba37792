// The C library's `environ` is a variable that nothing in this process changes.
@unsafe @preconcurrency import Glibc
import Synchronization

/// Starts programs, one at a time, so that no child inherits another's pipe.
///
/// A pipe becomes close-on-exec only in a second call. A child started between the two would hold the pipe's write
/// end, and the reader would not see the end of the file before that child is gone too. So pipes are made and
/// programs started under one lock. That cannot help against descriptors which others make meanwhile, such as
/// accepted connections; those the child closes before it becomes the program, see `closeInherited`.
enum Spawner {
    static func spawn(_ arguments: [String]) throws(SpawnError) -> ChildProcess {
        guard let program = arguments.first else { throw .notFound(program: "") }
        return try OwnChildren.withLock { own throws(SpawnError) in
            do throws(SystemError) {
                let child = try spawnLocked(arguments)
                own.insert(child.identifier)
                return child
            } catch {
                throw SpawnError(error, program: program)
            }
        }
    }

    private static func spawnLocked(_ arguments: [String]) throws(SystemError) -> ChildProcess {
        let output = try Pipe()
        let errors = try Pipe()
        let outputWriter = try output.writer.aboveStandard()
        let errorsWriter = try errors.writer.aboveStandard()
        var child: pid_t = 0
        let code = start(arguments, outputWriter.rawValue, errorsWriter.rawValue, &child)
        guard code == 0 else { throw SystemError(call: "posix_spawnp", code: code) }
        return ChildProcess(identifier: child, output: output.reader, errors: errors.reader)
    }

    /// `posix_spawnp(3)`; the result is an `errno`, or 0.
    private static func start(
        _ arguments: [String],
        _ output: CInt,
        _ errors: CInt,
        _ child: inout pid_t
    ) -> CInt {
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        unsafe posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        unsafe posix_spawn_file_actions_adddup2(&actions, output, 1)
        unsafe posix_spawn_file_actions_adddup2(&actions, errors, 2)
        unsafe closeInherited(&actions)

        var attributes = posix_spawnattr_t()
        unsafe posix_spawnattr_init(&attributes)
        defer { unsafe posix_spawnattr_destroy(&attributes) }
        unsafe detach(&attributes)

        var words = unsafe arguments.map { unsafe strdup($0) } + [nil]
        defer { for index in unsafe words.indices { unsafe free(words[index]) } }
        return unsafe posix_spawnp(&child, arguments[0], &actions, &attributes, &words, environ)
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

    /// Lets the child close every descriptor above the third, open or not.
    ///
    /// New descriptors take the lowest free number, so a margin above the highest one in use covers those that other
    /// threads open before the child is made. Closing a number that is not open is no error for the C library, as
    /// long as it is below the limit.
    private static func closeInherited(
        _ actions: UnsafeMutablePointer<posix_spawn_file_actions_t>
    ) {
        let names = (try? FileSystem.entries(of: "/proc/self/fd")) ?? []
        let highest = names.compactMap { CInt($0) }.max() ?? 1023
        let limit = CInt(clamping: sysconf(CInt(_SC_OPEN_MAX)))
        for number in 3..<max(3, min(highest + 128, limit)) {
            unsafe posix_spawn_file_actions_addclose(actions, number)
        }
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
///
/// Locked while one is started, too: a child that ends at once must not be taken for an orphan.
enum OwnChildren {
    private static let identifiers = Mutex<Set<pid_t>>([])

    static func withLock<Value: ~Copyable, E: Error>(
        _ body: (inout Set<pid_t>) throws(E) -> Value
    ) throws(E) -> Value {
        try identifiers.withLock { own throws(E) in try body(&own) }
    }
}
