import Glibc

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
