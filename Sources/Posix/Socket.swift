import Glibc

/// Owns a connected stream socket that never blocks.
package struct Socket: ~Copyable, Sendable {
    private let descriptor: FileDescriptor
    /// The other end's address without its port, `127.0.0.1` or `::1`; `unix` for a local socket.
    package let peer: String

    /// What became of a transfer.
    package enum Transfer: Equatable, Sendable {
        /// So many bytes, at least one unless none were asked for.
        case moved(Int)
        case wouldBlock
        /// The peer has finished: nothing more will arrive.
        case closed
        /// The connection is gone, in both directions.
        case lost
    }

    init(adopting descriptor: consuming FileDescriptor, peer: SocketAddress) throws(SystemError) {
        try descriptor.makeNonblocking()
        if peer.address != nil { try descriptor.setOption(Int32(IPPROTO_TCP), TCP_NODELAY, to: 1) }
        self.descriptor = descriptor
        self.peer = peer.address?.unmapped.description ?? "unix"
    }

    /// Takes what `accept4(2)` gave: it never blocks, and has the options of its listener.
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

    /// Takes what has arrived, up to `buffer.count` bytes, with `recv(2)`.
    package borrowing func receive(into buffer: inout MutableSpan<UInt8>) -> Transfer {
        let taken = Self.transfer {
            unsafe buffer.withUnsafeMutableBytes {
                unsafe recv(rawValue, $0.baseAddress, $0.count, 0)
            }
        }
        return taken == .moved(0) ? .closed : taken
    }

    /// Hands `first` and then `second` to the kernel, as far as it takes them, with one `sendmsg(2)`.
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

    /// Tells the peer that nothing more follows, with `shutdown(2)`; a connection already lost is no error.
    package borrowing func finishSending() {
        _ = shutdown(rawValue, CInt(SHUT_WR))
    }

    /// Bytes that the peer's kernel has not acknowledged yet, with `ioctl(2)`, `SIOCOUTQ`.
    ///
    /// Counts a `FIN` that is under way as one. On a local socket: bytes that the peer has not read.
    package borrowing func unacknowledgedBytes() throws(SystemError) -> Int {
        var count: CInt = 0
        try retrying("ioctl SIOCOUTQ") { unsafe ioctl(rawValue, outputQueue, &count) }
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

    /// Every error but "later" ends the connection, so a caller has only that to know.
    private static func transfer(_ call: () -> Int) -> Transfer {
        do throws(SystemError) {
            return .moved(try retrying("", call))
        } catch {
            return error.code == EAGAIN ? .wouldBlock : .lost
        }
    }
}

/// `SIOCOUTQ` of `<linux/sockios.h>`, which the Glibc module leaves out.
private let outputQueue: UInt = 0x5411

extension iovec {
    fileprivate init(_ bytes: UnsafeRawBufferPointer) {
        // sendmsg reads through the pointer and never writes.
        unsafe self.init(
            iov_base: UnsafeMutableRawPointer(mutating: bytes.baseAddress),
            iov_len: bytes.count
        )
    }
}
