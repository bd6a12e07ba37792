import CLinux
import Glibc

/// Owns a socket that accepts connections, and never blocks; removes the path of a local one at its end.
package struct ListeningSocket: ~Copyable, Sendable {
    private let descriptor: FileDescriptor
    /// Where it listens, with the port that the kernel chose if it was asked to.
    package let address: ListenAddress
    private let path: UnixSocketPath?

    /// Binds and listens.
    ///
    /// Owner and group may connect to a local socket; `[::]` accepts IPv4 too, unless `ipv6Only`.
    /// The path of a local socket that a dead server left behind is replaced.
    /// - Throws: the error names `address`. `EADDRINUSE` also for a local socket on whose path another process listens.
    package init(on address: ListenAddress, ipv6Only: Bool = false) throws(SystemError) {
        let descriptor = try Self.bound(to: address, ipv6Only: ipv6Only)
        try descriptor.makeNonblocking()
        if !address.isLocal { try Self.setOptions(of: descriptor) }
        if case .unix(let path) = address {
            try FileSystem.setMode(0o660, of: path)  // Nobody can connect before it listens.
        }
        try retrying("listen \(address)") { listen(descriptor.rawValue, SOMAXCONN) }
        let port = try descriptor.boundPort()
        path = try UnixSocketPath(boundBy: address)
        self.address = address.with(port: port)
        self.descriptor = descriptor
    }

    /// Removes the path before the descriptor is closed: while a process listens, no other takes the path.
    deinit { path?.remove() }

    /// Whether clients find it: `false` when the path of a local socket is gone or leads to another one.
    package var isReachable: Bool { path?.isCurrent ?? true }

    /// To be polled for connections that wait.
    package var rawValue: CInt { descriptor.rawValue }

    /// Accepts the next connection, with `accept4(2)`; `nil` if none waits, or the waiting one is gone again.
    ///
    /// - Throws: an error such as `EMFILE` if the connection must keep waiting.
    package borrowing func accept() throws(SystemError) -> Socket? {
        var peer = SocketAddress()
        let descriptor: FileDescriptor
        do throws(SystemError) {
            let accepted = try retrying("accept4") {
                unsafe peer.withMutablePointer { unsafe clinux_accept4(rawValue, $0, $1) }
            }
            descriptor = FileDescriptor(adopting: accepted)
        } catch {
            guard Self.transientErrors.contains(error.code) else { throw error }
            return nil
        }
        return Socket(accepted: descriptor, peer: peer)
    }

    /// The most bytes that the kernel keeps for a peer that does not read; otherwise it would be several megabytes a connection.
    private static let unsentBytes: CInt = 256 << 10

    /// Sets the options that each accepted connection inherits.
    private static func setOptions(of descriptor: borrowing FileDescriptor) throws(SystemError) {
        try descriptor.setOption(CInt(IPPROTO_TCP), TCP_NODELAY, to: 1)
        try descriptor.setOption(CInt(IPPROTO_TCP), TCP_NOTSENT_LOWAT, to: unsentBytes)
    }

    /// Errors that concern one connection, not the listener (`accept(2)`, "Error handling").
    private static let transientErrors: [CInt] = [
        EAGAIN, ECONNABORTED, ECONNRESET, EINVAL, EPERM, EPROTO, ENETDOWN, ENOPROTOOPT, EHOSTDOWN,
        ENONET,
        EHOSTUNREACH, EOPNOTSUPP, ENETUNREACH,
    ]
}

extension ListeningSocket {
    private static func bound(
        to address: ListenAddress,
        ipv6Only: Bool
    ) throws(SystemError) -> FileDescriptor {
        switch address {
        case .anyAddress(let port): try anyAddress(port, address)
        case .internet(.v6(.zero), let port) where !ipv6Only: try anyAddress(port, address)
        case .internet(let ip, let port): try bound(to: SocketAddress(ip, port: port), address)
        case .unix(let path): try UnixSocketPath.bind(path, for: address)
        }
    }

    /// Both families on one socket; IPv4 alone where the kernel has no IPv6.
    private static func anyAddress(
        _ port: UInt16,
        _ name: ListenAddress
    ) throws(SystemError) -> FileDescriptor {
        do throws(SystemError) {
            return try bound(to: SocketAddress(.v6(.zero), port: port), name, dualStack: true)
        } catch {
            guard error.code == EAFNOSUPPORT || error.code == EADDRNOTAVAIL else { throw error }
            return try bound(to: SocketAddress(.v4(INADDR_ANY), port: port), name)
        }
    }

    /// `name` is for the error.
    static func bound(
        to address: SocketAddress,
        _ name: ListenAddress,
        dualStack: Bool = false
    ) throws(SystemError) -> FileDescriptor {
        let descriptor = try FileDescriptor.streamSocket(address.family)
        try descriptor.setOption(SOL_SOCKET, SO_REUSEADDR, to: 1)
        if address.family == AF_INET6 {
            try descriptor.setOption(CInt(IPPROTO_IPV6), IPV6_V6ONLY, to: dualStack ? 0 : 1)
        }
        try retrying("bind \(name)") {
            unsafe address.withPointer { unsafe bind(descriptor.rawValue, $0, $1) }
        }
        return descriptor
    }
}

extension ListenAddress {
    fileprivate var isLocal: Bool {
        if case .unix = self { true } else { false }
    }

    fileprivate func with(port: UInt16) -> ListenAddress {
        switch self {
        case .anyAddress: .anyAddress(port: port)
        case .internet(let address, _): .internet(address, port: port)
        case .unix: self
        }
    }
}

/// The path of a local socket that this process listens on.
struct UnixSocketPath: Sendable {
    private let path: String
    private let device: dev_t
    private let inode: ino_t

    /// The path on which a socket was just bound; `nil` for an address of another kind.
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

    /// Removes it, unless it belongs to a successor by now.
    func remove() {
        guard isCurrent else { return }
        try? FileSystem.unlink(path)  // Otherwise the next server replaces it.
    }

    /// Binds a socket to a path; a socket file of a dead server is removed first.
    ///
    /// - Throws: `EADDRINUSE` for the socket of a running server, `EEXIST` for a file that is no socket: neither is removed.
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

    /// Keeps another process from finding the same file, and from removing the one that is bound in its place.
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
        try probe.makeNonblocking()  // A server with a full queue must not delay the start.
        guard probe.connect(to: address) == ECONNREFUSED else {
            throw SystemError(call: "bind \(name)", code: EADDRINUSE)
        }
        try FileSystem.unlink(path)
    }
}
