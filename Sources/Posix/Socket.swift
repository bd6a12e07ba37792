import CLinux
import Glibc

/// Owns a connected stream socket that never blocks.
package struct Socket: ~Copyable, Sendable {
    private let descriptor: FileDescriptor
    /// The other end's address without its port, `127.0.0.1` or `::1`; `unix` for a local socket.
    package let peer: String

    /// The result of a transfer.
    package enum Transfer: Equatable, Sendable {
        /// The number of bytes: at least one unless none were requested.
        case moved(Int)
        case wouldBlock
        /// The peer has finished sending.
        case closed
        /// The connection is lost in both directions.
        case lost
    }

    init(adopting descriptor: consuming FileDescriptor, peer: SocketAddress) throws(SystemError) {
        try descriptor.makeNonblocking()
        if peer.address != nil { try descriptor.setOption(Int32(IPPROTO_TCP), TCP_NODELAY, to: 1) }
        self.descriptor = descriptor
        self.peer = peer.address?.unmapped.description ?? "unix"
    }

    /// Adopts what `accept4(2)` returned: it does not block, and has the options of its listener.
    init(accepted descriptor: consuming FileDescriptor, peer: SocketAddress) {
        self.descriptor = descriptor
        self.peer = peer.address?.unmapped.description ?? "unix"
    }

    private init(_ descriptor: consuming FileDescriptor, peer: String) {
        self.descriptor = descriptor
        self.peer = peer
    }

    /// A second owner of the same connection, with `fcntl(2)`; it ends when both are gone.
    package borrowing func duplicate() throws(SystemError) -> Socket {
        let copy = try retrying("fcntl F_DUPFD_CLOEXEC") { fcntl(rawValue, F_DUPFD_CLOEXEC, 0) }
        return Socket(FileDescriptor(adopting: copy), peer: peer)
    }

    /// To be polled.
    package var rawValue: CInt { descriptor.rawValue }

    /// Receives what has arrived, up to `buffer.count` bytes, with `recv(2)`.
    package borrowing func receive(into buffer: inout MutableSpan<UInt8>) -> Transfer {
        let taken = Self.transfer {
            unsafe buffer.withUnsafeMutableBytes {
                unsafe recv(rawValue, $0.baseAddress, $0.count, 0)
            }
        }
        return taken == .moved(0) ? .closed : taken
    }

    /// Sends `first` and then `second`, as far as the kernel takes them, with one `sendmsg(2)`.
    package borrowing func send(
        _ first: Span<UInt8>,
        _ second: Span<UInt8> = Span()
    ) -> Transfer {
        Self.transfer {
            unsafe first.withUnsafeBytes { first in
                unsafe second.withUnsafeBytes { second in unsafe send(first, second) }
            }
        }
    }

    /// Ends the connection in this direction, with `shutdown(2)`; a lost connection is no error.
    package borrowing func finishSending() {
        _ = shutdown(rawValue, CInt(SHUT_WR))
    }

    /// Bytes that the peer's kernel has not acknowledged yet, by `SIOCOUTQ` of `ioctl(2)`.
    ///
    /// An unacknowledged `FIN` counts as one. On a local socket: bytes that the peer has not read.
    package borrowing func unacknowledgedBytes() throws(SystemError) -> Int {
        var count: CInt = 0
        try retrying("ioctl SIOCOUTQ") { unsafe clinux_unacknowledged_bytes(rawValue, &count) }
        return Int(count)
    }

    private borrowing func send(
        _ first: UnsafeRawBufferPointer,
        _ second: UnsafeRawBufferPointer
    ) -> Int {
        unsafe withUnsafeTemporaryAllocation(of: iovec.self, capacity: 2) { parts in
            unsafe parts.initializeElement(at: 0, to: iovec(first))
            unsafe parts.initializeElement(at: 1, to: iovec(second))
            var message = unsafe msghdr()
            unsafe message.msg_iov = parts.baseAddress
            unsafe message.msg_iovlen = 2
            // Without the flag a lost connection would be a SIGPIPE.
            return unsafe sendmsg(rawValue, &message, CInt(MSG_NOSIGNAL))
        }
    }

    /// Every error except `EAGAIN` ends the connection, so a caller need not tell them apart.
    private static func transfer(_ call: () -> Int) -> Transfer {
        do throws(SystemError) {
            return .moved(try retrying("", call))
        } catch {
            return error.code == EAGAIN ? .wouldBlock : .lost
        }
    }
}

extension Socket {
    /// Connects to a server, with `connect(2)`; waits until `deadline` at most.
    ///
    /// `.anyAddress` is reached on the IPv4 loopback.
    package init(
        connectedTo server: ListenAddress,
        until deadline: BootTime? = nil
    ) throws(SystemError) {
        let address =
            switch server {
            case .anyAddress(let port): SocketAddress(.loopback, port: port)
            case .internet(let ip, let port): SocketAddress(ip, port: port)
            case .unix(let path): SocketAddress(unixPath: path)
            }
        let descriptor = try FileDescriptor.streamSocket(address.family)
        try descriptor.makeNonblocking()
        let code = descriptor.connect(to: address, until: deadline)
        guard code == 0 else { throw SystemError(call: "connect \(server)", code: code) }
        try self.init(adopting: descriptor, peer: address)
    }
}

extension FileDescriptor {
    /// Connects a socket that does not block; 0, or the `errno` of the failure.
    borrowing func connect(to address: SocketAddress, until deadline: BootTime? = nil) -> CInt {
        let result = unsafe address.withPointer { unsafe Glibc.connect(rawValue, $0, $1) }
        if result == 0 { return 0 }
        let code = errno
        // The connection continues to be made after EINTR, too.
        guard code == EINPROGRESS || code == EINTR else { return code }
        do throws(SystemError) {
            return try isReady(for: .writing, until: deadline) ? pendingError() : ETIMEDOUT
        } catch {
            return error.code
        }
    }

    /// The socket's `SO_ERROR`, with `getsockopt(2)`.
    private borrowing func pendingError() -> CInt {
        var code: CInt = 0
        var length = socklen_t(MemoryLayout<CInt>.size)
        let result = unsafe getsockopt(rawValue, SOL_SOCKET, SO_ERROR, &code, &length)
        return result == 0 ? code : errno
    }
}

extension FileDescriptor {
    /// A stream socket, with `socket(2)`, close-on-exec.
    static func streamSocket(_ family: CInt) throws(SystemError) -> FileDescriptor {
        let type = CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue)
        return FileDescriptor(adopting: try retrying("socket") { socket(family, type, 0) })
    }

    /// Makes calls return `EAGAIN` where they would wait, and sets close-on-exec, with `fcntl(2)`.
    package borrowing func makeNonblocking() throws(SystemError) {
        let flags = try retrying("fcntl F_GETFL") { fcntl(rawValue, F_GETFL) }
        try retrying("fcntl F_SETFL") { fcntl(rawValue, F_SETFL, flags | O_NONBLOCK) }
        try retrying("fcntl F_SETFD") { fcntl(rawValue, F_SETFD, FD_CLOEXEC) }
    }

    /// Sets an option that is one number, with `setsockopt(2)`.
    package borrowing func setOption(
        _ level: CInt,
        _ option: CInt,
        to value: CInt
    ) throws(SystemError) {
        var value = value
        try retrying("setsockopt") {
            unsafe setsockopt(
                rawValue,
                level,
                option,
                &value,
                socklen_t(MemoryLayout<CInt>.size)
            )
        }
    }

    /// The port that the socket is bound to, with `getsockname(2)`; 0 for a local socket.
    borrowing func boundPort() throws(SystemError) -> UInt16 {
        var address = SocketAddress()
        try retrying("getsockname") {
            unsafe address.withMutablePointer { unsafe getsockname(rawValue, $0, $1) }
        }
        return address.port
    }
}

extension iovec {
    fileprivate init(_ bytes: UnsafeRawBufferPointer) {
        // sendmsg reads through the pointer and never writes.
        unsafe self.init(
            iov_base: UnsafeMutableRawPointer(mutating: bytes.baseAddress),
            iov_len: bytes.count
        )
    }
}
