import Glibc
import Posix

/// A file that keeps room back on the disk, and gives it up when there is no other.
///
/// Locked while it is held, so that other recorders in the directory can tell it from one that nobody needs any more.
struct DiskReserve: ~Copyable, Sendable {
    let path: String
    /// What it keeps back now.
    private(set) var heldBytes: UInt64 = 0
    private var file: FileDescriptor?

    private static let prefix = ".reserve-"

    init(_ directory: String, of recorder: String) {
        path = "\(directory)/\(Self.prefix)\(recorder)"
    }

    /// Takes the room, if that has not been done, or somebody has removed the file.
    ///
    /// - Throws: when there is not so much; nothing is taken then.
    mutating func hold(_ bytes: UInt64) throws(SystemError) {
        guard heldBytes != bytes || !isNamed else { return }
        do throws(SystemError) {
            let file = try FileDescriptor(opening: path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK)
            let status = try file.status()
            guard status.st_mode & S_IFMT == S_IFREG else {
                throw SystemError(call: "\(path) is not a regular file: open", code: EINVAL)
            }
            // It would be truncated, under its other name too.
            guard status.st_nlink == 1 else {
                throw SystemError(call: "\(path) has another hard link: open", code: EMLINK)
            }
            _ = try file.tryExclusiveLock()
            try file.truncate(to: Int(clamping: bytes))
            try file.allocate(Int(clamping: bytes))
            self.file = consume file
            heldBytes = bytes
        } catch {
            _ = release()
            throw error
        }
    }

    /// Whether the name still refers to the file that is held.
    private var isNamed: Bool {
        guard let held = try? file?.status(), let named = try? FileSystem.linkStatus(of: path)
        else {
            return false
        }
        return held.st_ino == named.st_ino && held.st_dev == named.st_dev
    }

    /// Gives the room up, also that of a run that was killed; whether there was any.
    mutating func release() -> Bool {
        defer {
            heldBytes = 0
            file = nil
        }
        try? FileSystem.unlink(path)
        return heldBytes > 0
    }

    /// Removes the reserves of recorders that are not running: this one had another name once.
    func removeOthers(in directory: String) {
        for name in (try? FileSystem.entries(of: directory)) ?? [] {
            guard name.hasPrefix(Self.prefix),
                ConfigurationRules.isName(String(name.dropFirst(Self.prefix.count)))
            else { continue }
            let other = "\(directory)/\(name)"
            let flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK
            guard other != path, let file = try? FileDescriptor(opening: other, flags),
                let status = try? file.status(), status.st_mode & S_IFMT == S_IFREG,
                (try? file.tryExclusiveLock()) == true
            else { continue }
            try? FileSystem.unlink(other)
        }
    }
}
