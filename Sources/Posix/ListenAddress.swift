import Glibc

/// Where a server listens, as the Prometheus exporter toolkit spells it.
///
/// `:9847` and `[::]:9847` are all IPv6 and IPv4 addresses; others are `127.0.0.1:9847`, `[::1]:9847` and `unix:/path`. The kernel
/// chooses a port in place of 0. Host names are refused, because what they resolve to can change between two starts.
package enum ListenAddress: Hashable, Sendable {
    case anyAddress(port: UInt16)
    case internet(IPAddress, port: UInt16)
    case unix(path: String)

    package init(_ text: String) throws(ListenAddressError) {
        if text.hasPrefix("unix:") {
            self = try .unix(path: Self.checkedPath(String(text.dropFirst(5)), in: text))
            return
        }
        guard let colon = text.lastIndex(of: ":") else { throw .missingPort(text) }
        let host = String(text[..<colon])
        let port = try Self.port(String(text[text.index(after: colon)...]), in: text)
        self =
            host.isEmpty ? .anyAddress(port: port) : .internet(try Self.address(host), port: port)
    }

    /// The longest path that fits `sockaddr_un` with its final zero.
    package static let maxPathBytes = 107

    private static func checkedPath(
        _ path: String,
        in text: String
    ) throws(ListenAddressError) -> String {
        guard !path.isEmpty, !path.utf8.contains(0) else { throw .badPath(text) }
        guard path.utf8.count <= maxPathBytes else { throw .badPath(text) }
        return path
    }

    private static func port(
        _ digits: String,
        in text: String
    ) throws(ListenAddressError) -> UInt16 {
        // `UInt16` alone would take "+1".
        guard digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let port = UInt16(digits)
        else { throw .badPort(text) }
        return port
    }

    private static func address(_ host: String) throws(ListenAddressError) -> IPAddress {
        if host.hasPrefix("[") && host.hasSuffix("]") {
            guard case .v6(let bytes)? = IPAddress(String(host.dropFirst().dropLast())) else {
                throw .badAddress(host)
            }
            return .v6(bytes)
        }
        switch IPAddress(host) {
        case .v4(let bytes)?: return .v4(bytes)
        case .v6?: throw .missingBrackets(host)
        case nil: throw host.contains(":") ? .badAddress(host) : .hostName(host)
        }
    }
}

extension ListenAddress: CustomStringConvertible {
    /// The spelling that `init` takes.
    package var description: String {
        switch self {
        case .anyAddress(let port): ":\(port)"
        case .internet(.v4(let bytes), let port): "\(IPAddress.v4(bytes)):\(port)"
        case .internet(.v6(let bytes), let port): "[\(IPAddress.v6(bytes))]:\(port)"
        case .unix(let path): "unix:\(path)"
        }
    }
}

/// Why a text is not a listen address; each case has the refused text.
package enum ListenAddressError: Error, Equatable, CustomStringConvertible {
    case missingPort(String)
    case badPort(String)
    case badAddress(String)
    case missingBrackets(String)
    case hostName(String)
    case badPath(String)

    package var description: String {
        switch self {
        case .missingPort(let text): "\"\(text)\" has no port: write :\(text) or ADDRESS:PORT"
        case .badPort(let text): "the port of \"\(text)\" is not a number from 0 to 65535"
        case .badAddress(let text): "\"\(text)\" is not an IPv4 or IPv6 address"
        case .missingBrackets(let text): "IPv6 addresses go in brackets: [\(text)]"
        case .hostName(let text):
            "\"\(text)\" is a host name: write an IP address, or :PORT for all"
        case .badPath(let text):
            "\"\(text)\" needs a socket path of 1 to \(ListenAddress.maxPathBytes) bytes"
        }
    }
}

/// An IPv4 or IPv6 address, without a port.
package enum IPAddress: Hashable, Sendable, CustomStringConvertible {
    /// Four bytes in network order, as `in_addr` holds them.
    case v4(UInt32)
    /// Sixteen bytes in network order.
    case v6(SIMD16<UInt8>)

    /// Parses numbers only, with `inet_pton(3)`: no host name and no zone.
    package init?(_ text: String) {
        var v4 = in_addr()
        var v6 = SIMD16<UInt8>.zero
        if unsafe inet_pton(AF_INET, text, &v4) == 1 {
            self = .v4(v4.s_addr)
        } else if unsafe inet_pton(AF_INET6, text, &v6) == 1 {
            self = .v6(v6)
        } else {
            return nil
        }
    }

    /// The address as `inet_ntop(3)` writes it.
    package var description: String {
        switch self {
        case .v4(var bytes): unsafe Self.text(AF_INET, &bytes)
        case .v6(var bytes): unsafe Self.text(AF_INET6, &bytes)
        }
    }

    /// The IPv4 address inside an IPv4-mapped IPv6 one, which is how a dual-stack socket names IPv4 peers.
    package var unmapped: IPAddress {
        guard case .v6(let bytes) = self else { return self }
        let prefix = SIMD16<UInt8>(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 0, 0, 0, 0)
        var mapped = bytes
        for index in 12..<16 { mapped[index] = 0 }
        guard mapped == prefix else { return self }
        let tail = SIMD4(bytes[12], bytes[13], bytes[14], bytes[15])
        return .v4(unsafe unsafeBitCast(tail, to: UInt32.self))  // Both are four plain bytes.
    }

    private static func text(_ family: CInt, _ bytes: UnsafeRawPointer) -> String {
        var buffer: [CChar] = Array(repeating: 0, count: Int(INET6_ADDRSTRLEN))
        guard unsafe inet_ntop(family, bytes, &buffer, socklen_t(buffer.count)) != nil else {
            return "unknown"
        }
        return String(
            decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)),
            as: UTF8.self
        )
    }
}

/// A `sockaddr` of any family, with its length, as the socket calls take and return it.
struct SocketAddress {
    private var storage = sockaddr_storage()
    private(set) var length = socklen_t(MemoryLayout<sockaddr_storage>.size)

    /// Space for the kernel to fill.
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

    /// `path` is at most `ListenAddress.maxPathBytes` bytes.
    init(unixPath path: String) {
        precondition(path.utf8.count <= ListenAddress.maxPathBytes)
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

extension IPAddress {
    /// 127.0.0.1.
    package static var loopback: IPAddress { .v4(INADDR_LOOPBACK.bigEndian) }
}
