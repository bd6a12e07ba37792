import Glibc
import Posix

/// Gives a segment's file its name only when it is whole.
///
/// Starting recorders of one name meet at the file with the provisional name: its lock lets one of them on, which then
/// finds whether an owner of the final name lives. The lock stays with the file when it gets its final name.
///
/// Dropped before `finish`, it leaves nothing behind.
struct SegmentBirth: ~Copyable {
    private let directory: String
    private let name: String
    /// `nil` once it has the final name.
    private var file: FileDescriptor?

    private var provisionalPath: String { Self.provisionalPath(directory, name) }
    private var path: String { "\(directory)/\(name).telemetry" }

    private static func provisionalPath(_ directory: String, _ name: String) -> String {
        "\(directory)/.\(name).telemetry.new"
    }

    /// Opens and locks the file under its provisional name; a leftover of a start that was killed is taken over.
    ///
    /// - Returns: `nil` when a recorder of this name is starting or running.
    static func begin(directory: String, name: String) throws(SystemError) -> SegmentBirth? {
        while true {
            let provisional = provisionalPath(directory, name)
            let file = try FileDescriptor(opening: provisional, O_RDWR | O_CREAT | O_NOFOLLOW)
            guard try file.tryLock() else { return nil }
            // Its owner may have given it the final name, and ended, between these two steps.
            guard try file.isStillNamed(provisional) else { continue }
            let birth = SegmentBirth(directory: directory, name: name, file: file)
            guard try birth.predecessorIsGone() else { return nil }
            return birth
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
    borrowing func inheritance() throws(SegmentError) -> Inheritance {
        var reader = SegmentReader(path: path)
        do throws(SegmentError) {
            return Inheritance(try reader.snapshot())
        } catch {
            guard error == .missing else { throw error }
            return Inheritance()
        }
    }

    /// Memory of the file, allocated to its last byte: a later store can then not fail.
    borrowing func memory(_ layout: SegmentLayout) throws(SystemError) -> SharedMemory {
        switch file {
        case .none: preconditionFailure("it has been born")
        case .some(let file):
            try file.truncate(to: 0)
            try file.allocate(layout.fileSize)
            return try SharedMemory(mapping: file, wordCount: layout.fileSize / 8)
        }
    }

    /// Gives the file its name; the lock lives as long as the descriptor.
    mutating func finish() throws(SystemError) -> FileDescriptor? {
        try FileSystem.rename(provisionalPath, to: path)
        return file.take()
    }

    private borrowing func predecessorIsGone() throws(SystemError) -> Bool {
        do throws(SystemError) {
            // Not blocking: a pipe of this name would wait for its writer.
            return try !FileDescriptor(opening: path, O_RDONLY | O_NONBLOCK).isLockedElsewhere()
        } catch {
            guard error.code == ENOENT else { throw error }
            return true
        }
    }
}

extension FileDescriptor {
    fileprivate borrowing func isStillNamed(_ path: String) throws(SystemError) -> Bool {
        let own = try status()
        do throws(SystemError) {
            let named = try FileSystem.status(of: path)
            return named.st_dev == own.st_dev && named.st_ino == own.st_ino
        } catch {
            guard error.code == ENOENT else { throw error }
            return false
        }
    }
}
