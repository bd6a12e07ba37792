import Glibc

/// A `sockaddr` of any family, with its length, as the socket calls take and give it.
struct SocketAddress {
    private var storage = sockaddr_storage()
    private(set) var length = socklen_t(MemoryLayout<sockaddr_storage>.size)

    /// Room for the kernel to fill.
    init() {}

    init(_ address: IPAddress, port: UInt16) {
        switch address {
        case .v4(let bytes):
            var internet = sockaddr_in()
            internet.sin_family = sa_family_t(AF_INET)
            internet.sin_port = port.bigEndian
            internet.sin_addr.s_addr = bytes
            fill(with: internet)
        case .v6(let bytes):
            var internet = sockaddr_in6()
            internet.sin6_family = sa_family_t(AF_INET6)
            internet.sin6_port = port.bigEndian
            unsafe withUnsafeMutableBytes(of: &internet.sin6_addr) {
                unsafe $0.storeBytes(of: bytes, as: SIMD16<UInt8>.self)
            }
            fill(with: internet)
        }
    }

    /// `path` is at most `ListenAddress.longestPath` bytes.
    init(unixPath path: String) {
        precondition(path.utf8.count <= ListenAddress.longestPath)
        var local = sockaddr_un()
        local.sun_family = sa_family_t(AF_UNIX)
        unsafe withUnsafeMutableBytes(of: &local.sun_path) {
            unsafe $0.copyBytes(from: path.utf8)  // The rest stays zero.
        }
        fill(with: local)
    }

    var family: CInt { CInt(storage.ss_family) }

    /// The port; 0 for a family without ports.
    var port: UInt16 {
        switch family {
        case AF_INET: UInt16(bigEndian: read(as: sockaddr_in.self).sin_port)
        case AF_INET6: UInt16(bigEndian: read(as: sockaddr_in6.self).sin6_port)
        default: 0
        }
    }

    /// The internet address; `nil` for another family.
    var address: IPAddress? {
        switch family {
        case AF_INET:
            return .v4(read(as: sockaddr_in.self).sin_addr.s_addr)
        case AF_INET6:
            let bytes = read(as: sockaddr_in6.self).sin6_addr
            return .v6(unsafe unsafeBitCast(bytes, to: SIMD16<UInt8>.self))  // Sixteen plain bytes.
        default:
            return nil
        }
    }

    func withPointer<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
        unsafe withUnsafePointer(to: storage) {
            unsafe $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe body($0, length) }
        }
    }

    mutating func withMutablePointer<Result>(
        _ body: (UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Result
    ) -> Result {
        unsafe withUnsafeMutablePointer(to: &storage) { storage in
            unsafe storage.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                unsafe withUnsafeMutablePointer(to: &length) { unsafe body(address, $0) }
            }
        }
    }

    /// `Value` is a `sockaddr_…`: plain bytes, and no longer than the storage.
    private mutating func fill<Value>(with value: Value) {
        length = socklen_t(MemoryLayout<Value>.size)
        unsafe withUnsafeMutableBytes(of: &storage) {
            unsafe $0.storeBytes(of: value, as: Value.self)
        }
    }

    private func read<Value>(as type: Value.Type) -> Value {
        unsafe withUnsafeBytes(of: storage) { unsafe $0.load(as: type) }
    }
}
