import Glibc
import Posix

/// Gives a segment's file its name only when it is complete.
///
/// Starting recorders of one name meet at the file with the provisional name: its lock lets one of them on, which then
/// finds whether an owner of the final name lives. The lock stays with the file when it gets its final name.
///
/// Dropped before `finish`, it leaves nothing behind.
struct SegmentCreation: ~Copyable {
    private let directory: String
    private let name: String
    /// `nil` once it has the final name.
    private var file: FileDescriptor?

    private var provisionalPath: String { Self.provisionalPath(directory, name) }
    private var path: String { Self.path(directory, name) }

    static func path(_ directory: String, _ name: String) -> String {
        "\(directory)/\(name).telemetry"
    }

    private static func provisionalPath(_ directory: String, _ name: String) -> String {
        "\(directory)/.\(name).telemetry.new"
    }

    /// What came of an attempt.
    enum Beginning: ~Copyable {
        case begun(SegmentCreation)
        /// A recorder of this name is starting or running.
        case running
        /// Another process holds a lock that says so, but shows no sign of life; or the like.
        case blocked(String)
    }

    /// Opens and locks the file under its provisional name; a leftover of a start that was killed is used again.
    ///
    /// What has the provisional name and is not a file of this user alone is removed, and so is one on which somebody
    /// holds a read lock, as whoever may read it can. It is never written to.
    ///
    /// `own` are files that this run has locked itself, whatever name they have; `timeout` is for another start that holds
    /// the provisional file.
    static func begin(
        directory: String,
        name: String,
        own: [FileIdentity] = [],
        timeout: Duration = .zero
    ) throws(SystemError) -> Beginning {
        let provisional = provisionalPath(directory, name)
        let deadline = BootTime.now().advanced(by: timeout)
        while true {
            switch try occupant(of: path(directory, name), own: own) {
            case .nobody: break
            case .running: return .running
            case .unresponsive(let reason): return .blocked(reason)
            }
            guard let file = try openProvisional(provisional) else { continue }
            guard try file.tryLock() else {
                if try !file.isLockedElsewhere() {
                    try remove(provisional)  // A read lock.
                    continue
                }
                guard BootTime.now() < deadline else {
                    return .blocked("another process holds a lock on \(provisional)")
                }
                var pause = EventLoop()
                _ = try pause.wait(until: BootTime.now().advanced(by: .milliseconds(5)))
                continue
            }
            // Its owner may have given it the final name, and ended, between these two steps.
            guard try FileIdentity(of: file) == FileIdentity(named: provisional) else { continue }
            let creation = SegmentCreation(directory: directory, name: name, file: file)
            switch try occupant(of: path(directory, name), own: own) {
            case .nobody: return .begun(creation)
            case .running: return .running
            case .unresponsive(let reason): return .blocked(reason)
            }
        }
    }

    private init(directory: String, name: String, file: consuming FileDescriptor) {
        (self.directory, self.name) = (directory, name)
        self.file = consume file
    }

    deinit {
        // Its lock is still held, so it is nobody else's.
        if file != nil { try? FileSystem.unlink(provisionalPath) }
    }

    /// What the run before left, judged; an error when its segment cannot be read, which is then lost.
    ///
    /// Nothing where the segment is of the run `except` itself.
    borrowing func carried(except runID: [UInt8] = []) throws(SegmentError) -> CarriedState {
        var reader = SegmentReader(path: path)
        do throws(SegmentError) {
            let snapshot = try reader.snapshot()
            return snapshot.contents.identity.runID == runID
                ? CarriedState() : CarriedState(snapshot)
        } catch {
            guard error == .missing else { throw error }
            return CarriedState()
        }
    }

    /// Memory of the file, allocated to its last byte: a later store can then not fail.
    borrowing func memory(_ layout: SegmentLayout) throws(SystemError) -> SharedMemory {
        switch file {
        case .none: preconditionFailure("it has its final name")
        case .some(let file):
            try file.truncate(to: 0)
            try file.allocate(layout.fileSize)
            return try SharedMemory(mapping: file, wordCount: layout.fileSize / 8)
        }
    }

    /// Gives the file its name; the lock lives as long as the descriptor.
    mutating func finish() throws(SystemError) -> FileDescriptor {
        guard let file = file.take() else { preconditionFailure("it has its final name") }
        do throws(SystemError) {
            try FileSystem.rename(provisionalPath, to: path)
            // The provisional name may have been given to another file meanwhile.
            guard try FileIdentity(of: file) == FileIdentity(named: path) else {
                throw SystemError(call: "rename \(provisionalPath)", code: EEXIST)
            }
            return file
        } catch {
            try? FileSystem.unlink(provisionalPath)
            throw error
        }
    }
}

/// What happens before the file is created.
extension SegmentCreation {
    private enum Occupant {
        case nobody, running
        case unresponsive(String)
    }

    /// Who holds the final name.
    ///
    /// A lock alone proves nothing: anybody who may write to the file can hold one. Whoever publishes also shows signs of life.
    private static func occupant(
        of path: String,
        own: [FileIdentity]
    ) throws(SystemError) -> Occupant {
        do throws(SystemError) {
            // Not blocking: a pipe of this name would wait for its writer.
            let file = try FileDescriptor(opening: path, O_RDONLY | O_NONBLOCK)
            let status = try file.status()
            guard status.st_mode & S_IFMT != S_IFDIR else {
                throw SystemError(call: "rename to \(path)", code: EISDIR)
            }
            guard !own.contains(FileIdentity(status)), try file.isLockedElsewhere() else {
                return .nobody
            }
            var reader = SegmentReader(path: path)
            if let snapshot = try? reader.snapshot(), snapshot.showsLife { return .running }
            return .unresponsive(
                "another process holds a lock on \(path), but publishes nothing there"
            )
        } catch {
            guard error.code == ENOENT || error.code == ELOOP || error.code == ENXIO else {
                throw error
            }
            return .nobody
        }
    }

    /// `nil` where something else had the name: it is removed now.
    private static func openProvisional(_ path: String) throws(SystemError) -> FileDescriptor? {
        do throws(SystemError) {
            let flags = O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK
            let file = try FileDescriptor(opening: path, flags)
            let status = try file.status()
            if status.st_mode & S_IFMT == S_IFREG, status.st_nlink <= 1, status.st_uid == geteuid()
            {
                return file
            }
        } catch {
            // A link, a directory, a socket, somebody else's file: whatever it is, it is no leftover of a start.
            guard [ELOOP, EISDIR, ENXIO, EACCES].contains(error.code),
                (try? FileSystem.linkStatus(of: path)) != nil
            else { throw error }
        }
        try remove(path)
        return nil
    }

    private static func remove(_ path: String) throws(SystemError) {
        do throws(SystemError) {
            try FileSystem.unlink(path)
        } catch {
            guard error.code == EISDIR else { throw error }
            try FileSystem.removeDirectory(path)
        }
    }
}

extension Snapshot {
    /// Whether its owner is one that publishes, as far as one look can tell.
    fileprivate var showsLife: Bool {
        switch verdict {
        case .alive: !isOfAnotherBoot
        case .hung, .ended: false
        }
    }
}

/// What a file is, whatever its name: its device and inode.
struct FileIdentity: Hashable, Sendable {
    private let device: dev_t
    private let inode: ino_t

    init(_ status: stat) {
        (device, inode) = (status.st_dev, status.st_ino)
    }

    init(of file: borrowing FileDescriptor) throws(SystemError) {
        self.init(try file.status())
    }

    /// Of the file that a path leads to; `nil` where there is none.
    init?(named path: String) throws(SystemError) {
        do throws(SystemError) {
            self.init(try FileSystem.status(of: path))
        } catch {
            guard error.code == ENOENT || error.code == ENOTDIR else { throw error }
            return nil
        }
    }
}

/// All that is known of a run before its segment exists.
struct RunSettings {
    let identity: RunIdentity
    let layout: SegmentLayout
    let phases: [PhaseBudget]

    /// A run that has its segment, or works on private memory.
    struct Start: ~Copyable {
        let state: PublisherState
        var file: FileDescriptor?
        let warning: String?
        let directory: String
    }

    /// Starts on a file, or without one where that fails; `nil` when a recorder of this name is running.
    ///
    /// `timeout` is for another start of the name that is under way.
    func start(in directory: String, timeout: Duration = .zero) -> Start? {
        do throws(SystemError) {
            try FileSystem.makeDirectory(directory)
            let beginning = try SegmentCreation.begin(
                directory: directory,
                name: identity.name,
                timeout: timeout
            )
            switch consume beginning {
            case .begun(var creation): return try start(&creation, directory)
            case .running: return nil
            case .blocked(let reason): return startPrivately(directory, reason)
            }
        } catch {
            return startPrivately(directory, "\(error)")
        }
    }

    private func start(
        _ creation: inout SegmentCreation,
        _ directory: String
    ) throws(SystemError) -> Start {
        var (carried, warning): (_, String?) = (CarriedState(), nil)
        do throws(SegmentError) {
            carried = try creation.carried()
        } catch {
            warning = "counts of earlier runs are lost: their segment is \(error)"
        }
        let memory = try creation.memory(layout)
        let state = PublisherState(self, memory, carried)
        do throws(SystemError) {
            let file = try creation.finish()
            return Start(state: state, file: file, warning: warning, directory: directory)
        } catch {
            memory.detach()
            throw error
        }
    }

    private func startPrivately(_ directory: String, _ reason: String) -> Start {
        // Without a mapping it stays private for good, but no start fails for that.
        let memory =
            (try? SharedMemory(movableWords: layout.fileSize / 8))
            ?? SharedMemory(privateWords: layout.fileSize / 8)
        return Start(
            state: PublisherState(self, memory, CarriedState()),
            file: nil,
            warning: "telemetry is not published: \(reason)",
            directory: directory
        )
    }
}

extension RunIdentity {
    /// A run that starts now.
    package init(starting name: String, _ version: String, heartbeatInterval: Duration) {
        var generator = SystemRandomNumberGenerator()
        self.init(
            name: name,
            version: version,
            runID: (0..<16).map { _ in .random(in: 0...255, using: &generator) },
            bootID: .current(),
            startedBoot: .now(),
            startedWall: .now(),
            heartbeatInterval: heartbeatInterval.wholeNanoseconds
        )
    }
}

extension PhaseBudget {
    static func areValid(_ phases: [PhaseBudget]) -> Bool {
        phases.count <= Lifecycle.maxPhases
            && Set(phases.map { ExactText($0.name) }).count == phases.count
            && phases.allSatisfy { (1..<Lifecycle.phaseNameBytes).contains($0.name.utf8.count) }
    }
}
