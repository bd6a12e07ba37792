import Glibc
import Posix

/// Decides by which names a browser may call a server, against DNS rebinding.
///
/// A page of `evil.example` can make a browser ask this server, once that name resolves to the server's address; for the
/// browser both are one origin, so the page may read the answers. Its requests carry the name in their Host field. So a
/// browser's request is refused unless its host is an IP address, `localhost` or a name below it, this machine's own name,
/// or a name that the operator allows. Requests of programs, such as scrapers and kubelets, are not examined.
package struct HostPolicy: Sendable {
    private let names: Set<String>
    /// Pages of these may ask by any name: they cannot be those of somebody else.
    private let trustedOrigins: Set<String>

    /// `allowed` are names as `isName` takes them; `trustedOrigins` are as a browser sends them in `Origin`.
    package init(
        allowed: [String] = [],
        trustedOrigins: [String] = [],
        ownName: String = machineName()
    ) {
        let own = Self.canonical(ownName)
        let machine = own.isEmpty ? [] : [own, "\(own).local"]
        names = Set(allowed.map(Self.canonical) + ["localhost"] + machine)
        self.trustedOrigins = Set(trustedOrigins)
    }

    /// Whether a setting can be a host's name: letters, digits, dots, dashes and underscores, without scheme and port.
    package static func isName(_ text: String) -> Bool {
        let parts = canonical(text).utf8.split(separator: 0x2E, omittingEmptySubsequences: false)
        return text.utf8.count <= 253
            && parts.allSatisfy { part in
                (1...63).contains(part.count)
                    && part.allSatisfy { $0.isDigit || $0.isLetter || $0 == 0x2D || $0 == 0x5F }
            }
    }

    /// What to say of a setting that is no name.
    package static func complaint(about text: String) -> String {
        "\(text.debugDescription) is no host name: write it without scheme, port and path"
    }

    func admits(_ request: Request) -> Bool {
        guard request.isFromBrowser else { return true }
        let origins = request.headers("Origin")
        if origins.count == 1, trustedOrigins.contains(origins[0]) { return true }
        return request.hosts.allSatisfy(isLocal)
    }

    /// `host` is one of a valid request, without its port.
    private func isLocal(_ host: String) -> Bool {
        if host.isEmpty || host.hasPrefix("[") { return true }
        if case .v4? = IPAddress(host) { return true }
        let name = Self.canonical(host)
        return names.contains(name) || name.hasSuffix(".localhost")
    }

    /// In lower case, and without the dot of a fully qualified name.
    private static func canonical(_ name: String) -> String {
        let name = name.lowercased()
        return name.hasSuffix(".") ? String(name.dropLast()) : name
    }
}

/// The machine's name, with `gethostname(2)`; in a container the container's.
package func machineName() -> String {
    var name = [CChar](repeating: 0, count: 256)
    guard unsafe gethostname(&name, name.count - 1) == 0 else { return "" }
    return String(decoding: name.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
}
