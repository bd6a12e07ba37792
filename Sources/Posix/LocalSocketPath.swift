import Glibc

/// The path of a local socket that this process listens on.
struct LocalSocketPath: Sendable {
    private let path: String
    private let device: dev_t
    private let inode: ino_t

    /// Takes charge of the path on which a socket was bound just now; `nil` for an address of another kind.
    init?(boundBy address: ListenAddress) throws(SystemError) {
        guard case .unix(let path) = address else { return nil }
        let status = try FileSystem.status(of: path)
        (self.path, device, inode) = (path, status.st_dev, status.st_ino)
    }

    /// Whether the path still leads to the socket, with `stat(2)`; a cleaner may have removed it, or its directory.
    var isCurrent: Bool {
        guard let status = try? FileSystem.status(of: path) else { return false }
        return status.st_ino == inode && status.st_dev == device
    }

    /// Removes it, unless a successor has it.
    func remove() {
        guard isCurrent else { return }
        try? FileSystem.unlink(path)  // At worst the next server finds it, and nobody behind it.
    }

    /// Binds a socket to a path; what a server left there that is gone is removed.
    ///
    /// - Throws: `EADDRINUSE` for the socket of a server that lives, `EEXIST` for a file that is no socket: neither is
    ///   ours to remove.
    static func bind(
        _ path: String,
        for name: ListenAddress
    ) throws(SystemError) -> FileDescriptor {
        let address = SocketAddress(unixPath: path)
        do throws(SystemError) {
            return try ListeningSocket.bound(to: address, name)
        } catch {
            guard error.code == EADDRINUSE else { throw error }
            let lock = try lockDirectory(of: path)
            try removeLeftover(path, address, for: name)
            let descriptor = try ListeningSocket.bound(to: address, name)
            withExtendedLifetime(lock.rawValue) {}
            return descriptor
        }
    }

    /// Keeps others from finding the same leftover, and from removing what is bound in its place.
    private static func lockDirectory(of path: String) throws(SystemError) -> FileDescriptor {
        let directory = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "."
        let descriptor = try FileDescriptor(opening: directory, O_RDONLY | O_DIRECTORY)
        guard try descriptor.tryExclusiveLock() else {
            throw SystemError(call: "flock \(directory)", code: EWOULDBLOCK)
        }
        return descriptor
    }

    private static func removeLeftover(
        _ path: String,
        _ address: SocketAddress,
        for name: ListenAddress
    ) throws(SystemError) {
        guard try FileSystem.status(of: path).st_mode & S_IFMT == S_IFSOCK else {
            throw SystemError(call: "bind \(name)", code: EEXIST)
        }
        let probe = try FileDescriptor.streamSocket(AF_UNIX)
        try probe.makeNonblocking()  // A server with a full queue lives, too.
        guard probe.connect(to: address) == ECONNREFUSED else {
            throw SystemError(call: "bind \(name)", code: EADDRINUSE)
        }
        try FileSystem.unlink(path)
    }
}
