import Glibc

/// What sockets need of a descriptor.
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
