import Glibc

extension Socket {
    /// Connects to a server on this machine, waiting until it takes the connection, with `connect(2)`.
    ///
    /// `.everywhere` is reached on the IPv4 loopback.
    package init(connectedTo server: ListenAddress) throws(SystemError) {
        let address =
            switch server {
            case .everywhere(let port): SocketAddress(.loopback, port: port)
            case .internet(let ip, let port): SocketAddress(ip, port: port)
            case .unix(let path): SocketAddress(unixPath: path)
            }
        let descriptor = try FileDescriptor.streamSocket(address.family)
        try retrying("connect \(server)") {
            unsafe address.withPointer { unsafe connect(descriptor.rawValue, $0, $1) }
        }
        try self.init(adopting: descriptor, peer: address)
    }
}

extension IPAddress {
    /// 127.0.0.1.
    package static var loopback: IPAddress { .v4(INADDR_LOOPBACK.bigEndian) }
}
