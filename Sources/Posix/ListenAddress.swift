/// Where a server listens, as the Prometheus exporter toolkit spells it.
///
/// `:9847` and `[::]:9847` are every IPv6 and IPv4 address; then `127.0.0.1:9847`, `[::1]:9847` and `unix:/path`. Port 0 lets the kernel
/// choose. Host names are refused: what they resolve to can change between two starts.
package enum ListenAddress: Hashable, Sendable {
    case everywhere(port: UInt16)
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
            host.isEmpty ? .everywhere(port: port) : .internet(try Self.address(host), port: port)
    }

    /// The longest path that fits `sockaddr_un` with its final zero.
    package static let longestPath = 107

    private static func checkedPath(
        _ path: String,
        in text: String
    ) throws(ListenAddressError) -> String {
        guard !path.isEmpty, !path.utf8.contains(0) else { throw .badPath(text) }
        guard path.utf8.count <= longestPath else { throw .badPath(text) }
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
        case .everywhere(let port): ":\(port)"
        case .internet(.v4(let bytes), let port): "\(IPAddress.v4(bytes)):\(port)"
        case .internet(.v6(let bytes), let port): "[\(IPAddress.v6(bytes))]:\(port)"
        case .unix(let path): "unix:\(path)"
        }
    }
}

/// Why a text is no listen address; each case carries the text it refuses.
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
        case .badPort(let text): "the port of \"\(text)\" is no number from 0 to 65535"
        case .badAddress(let text): "\"\(text)\" is no IPv4 or IPv6 address"
        case .missingBrackets(let text): "IPv6 addresses go in brackets: [\(text)]"
        case .hostName(let text):
            "\"\(text)\" is a host name: write an IP address, or :PORT for all"
        case .badPath(let text):
            "\"\(text)\" needs a socket path of 1 to \(ListenAddress.longestPath) bytes"
        }
    }
}
