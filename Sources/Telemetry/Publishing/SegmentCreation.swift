import Glibc
import Posix

/// Creates the file of a segment, which gets its name when it is complete.
///
/// Recorders of the same name that start at the same time compete for the lock of the file with the provisional name. The
/// one that gets it checks whether the file with the final name has an owner. The lock stays when the file is renamed.
///
/// If it is dropped before `finish`, the provisional file is removed.
struct SegmentCreation: ~Copyable {
    private let directory: String
    private let name: String
    /// `nil` after it was given the final name.
    private var file: FileDescriptor?

    private var provisionalPath: String { Self.provisionalPath(directory, name) }
    private var path: String { Self.path(directory, name) }

    static func path(_ directory: String, _ name: String) -> String {
        "\(directory)/\(name).telemetry"
    }

    private static func provisionalPath(_ directory: String, _ name: String) -> String {
        "\(directory)/.\(name).telemetry.new"
    }

    /// The result of `begin`.
    enum Beginning: ~Copyable {
        case begun(SegmentCreation)
        /// A recorder of this name is running.
        case running
        /// Another process holds a lock, but no recorder sends heartbeats; the text says where.
        case blocked(String)
    }

    /// Opens and locks the file with the provisional name; a file left by a start that was killed is used again.
    ///
    /// Anything else with that name is removed and never written to: what is no file, files of other users or with other
    /// names, and files with a read lock, which any process that may read the file can hold.
    ///
    /// `own` are files that this run has locked. `timeout` is for another start that has locked the provisional file.
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
            // Between these two steps, its owner may have given it the final name and exited.
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
        // The lock is still held, so no other process uses the file.
        if file != nil { try? FileSystem.unlink(provisionalPath) }
    }

    /// The state that the previous run left; empty if the segment is of the run `except`.
    ///
    /// - Throws: if the segment of that run cannot be read. Its state is lost then.
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

    /// Maps the file, which is allocated completely, so that later stores cannot fail.
    borrowing func memory(_ layout: SegmentLayout) throws(SystemError) -> SharedMemory {
        switch file {
        case .none: preconditionFailure("it has its final name")
        case .some(let file):
            try file.truncate(to: 0)
            try file.allocate(layout.fileSize)
            return try SharedMemory(mapping: file, wordCount: layout.fileSize / 8)
        }
    }

    /// Gives the file its name; the lock is held as long as the descriptor is open.
    mutating func finish() throws(SystemError) -> FileDescriptor {
        guard let file = file.take() else { preconditionFailure("it has its final name") }
        do throws(SystemError) {
            try FileSystem.rename(provisionalPath, to: path)
            // Another file may have got the provisional name meanwhile.
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

/// The steps before the file is created.
extension SegmentCreation {
    private enum Occupant {
        case nobody, running
        case unresponsive(String)
    }

    /// Who owns the file with the final name.
    ///
    /// A lock alone is no proof, because any process that may write to the file can hold it. A recorder also sends heartbeats.
    private static func occupant(
        of path: String,
        own: [FileIdentity]
    ) throws(SystemError) -> Occupant {
        do throws(SystemError) {
            // Non-blocking, because opening a FIFO would wait for a writer.
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

    /// `nil` if something else had the name, which was removed.
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
            // A link, a directory, a socket or a file of another user: not left by a start.
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
    /// Whether its owner sends heartbeats, as far as one snapshot can tell.
    fileprivate var showsLife: Bool {
        switch verdict {
        case .alive: !isOfAnotherBoot
        case .hung, .ended: false
        }
    }
}

/// Identifies a file independently of its name: device and inode.
struct FileIdentity: Hashable, Sendable {
    private let device: dev_t
    private let inode: ino_t

    init(_ status: stat) {
        (device, inode) = (status.st_dev, status.st_ino)
    }

    init(of file: borrowing FileDescriptor) throws(SystemError) {
        self.init(try file.status())
    }

    /// The file at a path; `nil` if there is none.
    init?(named path: String) throws(SystemError) {
        do throws(SystemError) {
            self.init(try FileSystem.status(of: path))
        } catch {
            guard error.code == ENOENT || error.code == ENOTDIR else { throw error }
            return nil
        }
    }
}

/// What defines a run before its segment exists.
struct RunSettings {
    let identity: RunIdentity
    let layout: SegmentLayout
    let phases: [PhaseBudget]

    /// A run that has started, with a segment file or in private memory.
    struct Start: ~Copyable {
        let state: PublisherState
        var file: FileDescriptor?
        let warning: String?
        let directory: String
    }

    /// Starts with a file, or in private memory if that fails; `nil` if a recorder of this name is running.
    ///
    /// `timeout` is for another recorder of this name that is starting.
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
        // Memory that was not mapped can never be published, but the start does not fail.
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
    /// Identifies a run that starts now.
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
