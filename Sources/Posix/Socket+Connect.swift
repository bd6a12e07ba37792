import Glibc

extension Socket {
    /// Connects to a server, waiting until it takes the connection or until `deadline`, with `connect(2)`.
    ///
    /// `.everywhere` is reached on the IPv4 loopback.
    package init(
        connectedTo server: ListenAddress,
        until deadline: BootTime? = nil
    ) throws(SystemError) {
        let address =
            switch server {
            case .everywhere(let port): SocketAddress(.loopback, port: port)
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
        // After EINTR the connection goes on being made, too.
        guard code == EINPROGRESS || code == EINTR else { return code }
        var set = PollSet()
        set.append(rawValue, for: .writing)
        repeat {
            if let deadline, deadline <= .now() { return ETIMEDOUT }
            do throws(SystemError) { _ = try set.wait(until: deadline) } catch { return error.code }
        } while !set.isReady(0)
        return pendingError()
    }

    /// What `SO_ERROR` has for the socket, with `getsockopt(2)`.
    private borrowing func pendingError() -> CInt {
        var code: CInt = 0
        var length = socklen_t(MemoryLayout<CInt>.size)
        let result = unsafe getsockopt(rawValue, SOL_SOCKET, SO_ERROR, &code, &length)
        return result == 0 ? code : errno
    }
}

extension IPAddress {
    /// 127.0.0.1.
    package static var loopback: IPAddress { .v4(INADDR_LOOPBACK.bigEndian) }
}
