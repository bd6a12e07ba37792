import Glibc
import Posix

/// A file that keeps room back on the disk, and gives it up when there is no other.
struct DiskReserve: Sendable {
    let path: String
    /// What it keeps back now.
    private(set) var heldBytes: UInt64 = 0

    init(path: String) {
        self.path = path
    }

    /// Takes the room, if that has not been done.
    ///
    /// - Throws: when there is not so much; nothing is taken then.
    mutating func hold(_ bytes: UInt64) throws(SystemError) {
        guard heldBytes != bytes else { return }
        do throws(SystemError) {
            let file = try FileDescriptor(opening: path, O_RDWR | O_CREAT | O_NOFOLLOW)
            try file.truncate(to: Int(clamping: bytes))
            try file.allocate(Int(clamping: bytes))
            heldBytes = bytes
        } catch {
            _ = release()
            throw error
        }
    }

    /// Gives the room up, also that of a run that was killed; whether there was any.
    mutating func release() -> Bool {
        defer { heldBytes = 0 }
        try? FileSystem.unlink(path)
        return heldBytes > 0
    }
}
