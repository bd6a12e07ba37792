import CLinux
import Glibc

/// Owns a socket that takes connections, and never blocks; the path of a local one goes with it.
package struct ListeningSocket: ~Copyable, Sendable {
    private let descriptor: FileDescriptor
    /// Where it listens, with the port that the kernel chose if it was asked to.
    package let address: ListenAddress
    private let path: LocalSocketPath?

    /// Binds and listens; owner and group may connect to a local socket, and whom its directory lets in.
    ///
    /// - Throws: the error names `address`. `EADDRINUSE` also for a local socket on whose path somebody listens. A path
    ///   that a dead server left behind is removed and taken.
    /// `[::]` takes connections of IPv4, too, unless `ipv6Only`.
    package init(on address: ListenAddress, ipv6Only: Bool = false) throws(SystemError) {
        let descriptor = try Self.bound(to: address, ipv6Only: ipv6Only)
        try descriptor.makeNonblocking()
        if !address.isLocal { try Self.setOptions(of: descriptor) }
        if case .unix(let path) = address {
            try FileSystem.setMode(0o660, of: path)  // Nobody can connect before it listens.
        }
        try retrying("listen \(address)") { listen(descriptor.rawValue, SOMAXCONN) }
        let port = try descriptor.boundPort()
        path = try LocalSocketPath(boundBy: address)
        self.address = address.with(port: port)
        self.descriptor = descriptor
    }

    /// Before the descriptor is closed: as long as somebody listens, nobody else takes the path.
    deinit { path?.remove() }

    /// Whether clients find it: `false` when the path of a local socket is gone or leads to another one.
    package var isReachable: Bool { path?.isCurrent ?? true }

    /// To be polled for connections that wait.
    package var rawValue: CInt { descriptor.rawValue }

    /// Takes the next connection, with `accept4(2)`; `nil` when none waits or the waiting one has gone again.
    ///
    /// - Throws: `EMFILE` and its like when the connection must keep waiting.
    package borrowing func accept() throws(SystemError) -> Socket? {
        var peer = SocketAddress()
        let descriptor: FileDescriptor
        do throws(SystemError) {
            let accepted = try retrying("accept4") {
                unsafe peer.withMutablePointer { unsafe clinux_accept4(rawValue, $0, $1) }
            }
            descriptor = FileDescriptor(adopting: accepted)
        } catch {
            guard Self.passing.contains(error.code) else { throw error }
            return nil
        }
        return Socket(accepted: descriptor, peer: peer)
    }

    /// Bytes that the kernel keeps unsent for a peer that does not read; more it does not take.
    ///
    /// Without it the kernel would keep several megabytes for each connection.
    private static let unsentBytes: CInt = 256 << 10

    /// Sets what each accepted connection inherits.
    private static func setOptions(of descriptor: borrowing FileDescriptor) throws(SystemError) {
        try descriptor.setOption(CInt(IPPROTO_TCP), TCP_NODELAY, to: 1)
        try descriptor.setOption(CInt(IPPROTO_TCP), TCP_NOTSENT_LOWAT, to: unsentBytes)
    }

    /// Errors that concern one connection, not the listener (`accept(2)`, "Error handling").
    private static let passing: [CInt] = [
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
        case .everywhere(let port): try everywhere(port, address)
        case .internet(.v6(.zero), let port) where !ipv6Only: try everywhere(port, address)
        case .internet(let ip, let port): try bound(to: SocketAddress(ip, port: port), address)
        case .unix(let path): try LocalSocketPath.bind(path, for: address)
        }
    }

    /// Both families on one socket; IPv4 alone where the kernel has no IPv6.
    private static func everywhere(
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
        case .everywhere: .everywhere(port: port)
        case .internet(let address, _): .internet(address, port: port)
        case .unix: self
        }
    }
}
