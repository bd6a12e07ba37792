package import Glibc

/// Owns a socket that takes connections, and never blocks.
package struct ListeningSocket: ~Copyable, Sendable {
    private let descriptor: FileDescriptor
    /// Where it listens, with the port that the kernel chose if it was asked to.
    package let address: ListenAddress

    /// Binds and listens; `mode` is that of a local socket's file, whatever the mask, and has no meaning for others.
    ///
    /// - Throws: `EADDRINUSE` also for a local socket on whose path somebody listens. A path that a dead server left
    ///   behind is removed and taken.
    package init(on address: ListenAddress, mode: mode_t? = nil) throws(SystemError) {
        let descriptor = try Self.bound(to: address)
        try descriptor.makeNonblocking()
        if case .unix(let path) = address, let mode {
            try FileSystem.setMode(mode, of: path)  // Nobody can connect before it listens.
        }
        try retrying("listen \(address)") { listen(descriptor.rawValue, SOMAXCONN) }
        self.address = address.with(port: try descriptor.boundPort())
        self.descriptor = descriptor
    }

    /// To be polled for connections that wait.
    package var rawValue: CInt { descriptor.rawValue }

    /// Takes the next connection, with `accept(2)`; `nil` when none waits or the waiting one has gone again.
    ///
    /// - Throws: `EMFILE` and its like when the connection must keep waiting.
    package borrowing func accept() throws(SystemError) -> Socket? {
        var peer = SocketAddress()
        do throws(SystemError) {
            let accepted = try retrying("accept") {
                unsafe peer.withMutablePointer { unsafe Glibc.accept(rawValue, $0, $1) }
            }
            return try Socket(adopting: FileDescriptor(adopting: accepted), peer: peer)
        } catch {
            guard Self.passing.contains(error.code) else { throw error }
            return nil
        }
    }

    /// Errors that concern one connection, not the listener (`accept(2)`, "Error handling").
    private static let passing: [CInt] = [
        EAGAIN, ECONNABORTED, ECONNRESET, EINVAL, EPERM, EPROTO, ENETDOWN, ENOPROTOOPT, EHOSTDOWN,
        ENONET,
        EHOSTUNREACH, EOPNOTSUPP, ENETUNREACH,
    ]
}

extension ListeningSocket {
    private static func bound(to address: ListenAddress) throws(SystemError) -> FileDescriptor {
        switch address {
        case .everywhere(let port): try everywhere(port)
        case .internet(let ip, let port): try bound(to: SocketAddress(ip, port: port))
        case .unix(let path): try local(path)
        }
    }

    /// Both families on one socket; IPv4 alone where the kernel has no IPv6.
    private static func everywhere(_ port: UInt16) throws(SystemError) -> FileDescriptor {
        do throws(SystemError) {
            return try bound(to: SocketAddress(.v6(.zero), port: port), dualStack: true)
        } catch {
            guard error.code == EAFNOSUPPORT || error.code == EADDRNOTAVAIL else { throw error }
            return try bound(to: SocketAddress(.v4(INADDR_ANY), port: port))
        }
    }

    private static func local(_ path: String) throws(SystemError) -> FileDescriptor {
        let address = SocketAddress(unixPath: path)
        do throws(SystemError) {
            return try bound(to: address)
        } catch {
            guard error.code == EADDRINUSE, isStale(path, address) else { throw error }
            try FileSystem.unlink(path)
            return try bound(to: address)
        }
    }

    /// Whether `path` is a socket on which nobody listens; a file of another kind is never ours to remove.
    private static func isStale(_ path: String, _ address: SocketAddress) -> Bool {
        guard let status = try? FileSystem.status(of: path), status.st_mode & S_IFMT == S_IFSOCK,
            let probe = try? FileDescriptor.streamSocket(AF_UNIX)
        else { return false }
        let result = unsafe address.withPointer { unsafe connect(probe.rawValue, $0, $1) }
        return result == -1 && errno == ECONNREFUSED
    }

    private static func bound(
        to address: SocketAddress,
        dualStack: Bool = false
    ) throws(SystemError) -> FileDescriptor {
        let descriptor = try FileDescriptor.streamSocket(address.family)
        try descriptor.setOption(SOL_SOCKET, SO_REUSEADDR, to: 1)
        if address.family == AF_INET6 {
            try descriptor.setOption(CInt(IPPROTO_IPV6), IPV6_V6ONLY, to: dualStack ? 0 : 1)
        }
        try retrying("bind") {
            unsafe address.withPointer { unsafe bind(descriptor.rawValue, $0, $1) }
        }
        return descriptor
    }
}

extension ListenAddress {
    fileprivate func with(port: UInt16) -> ListenAddress {
        switch self {
        case .everywhere: .everywhere(port: port)
        case .internet(let address, _): .internet(address, port: port)
        case .unix: self
        }
    }
}
