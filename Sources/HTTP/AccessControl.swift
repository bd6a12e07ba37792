import Glibc
package import Posix
import Synchronization

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

/// A bearer token (RFC 6750): a secret that a request shows in its Authorization field.
package struct BearerToken: Sendable {
    /// More would not fit the head of a request beside its other fields.
    package static let longest = 4096

    private let bytes: [UInt8]

    /// Takes the content of a token's file; white space at its end is not part of the token.
    ///
    /// `nil` unless that leaves 1 to `longest` visible ASCII characters.
    package init?(_ content: [UInt8]) {
        let end = content.lastIndex { !Self.blanks.contains($0) } ?? -1
        guard (0..<Self.longest).contains(end), content[...end].allSatisfy(\.isVisible) else {
            return nil
        }
        bytes = Array(content[...end])
    }

    /// The answer to a request that does not carry the token; `nil` for one that does.
    package func refusal(of request: Request) -> Response? {
        guard let field = request.header("Authorization") else {
            return .unauthorized(challenge: "Bearer")
        }
        guard isCarried(by: field) else {
            return .unauthorized(challenge: "Bearer error=\"invalid_token\"")
        }
        return nil
    }

    private func isCarried(by field: String) -> Bool {
        let scheme = "Bearer "
        let field = Array(field.utf8)
        guard field.span.extracting(first: scheme.utf8.count).equalsIgnoringCase(scheme) else {
            return false
        }
        return isEqual(to: field[scheme.utf8.count...].drop { $0 == .space })
    }

    /// Compares in a time that depends on the length of `given` alone, so that nobody can guess byte by byte.
    private func isEqual(to given: ArraySlice<UInt8>) -> Bool {
        var difference = UInt8(given.count == bytes.count ? 0 : 1)
        for (index, byte) in given.enumerated() { difference |= byte ^ bytes[index % bytes.count] }
        return difference == 0
    }

    private static let blanks: [UInt8] = [.space, .tab, .carriageReturn, .lineFeed]
}

extension Response {
    /// Asks for credentials (RFC 9110 §15.5.2).
    fileprivate static func unauthorized(challenge: String) -> Response {
        var response = text(.unauthorized, "unauthorized")
        response.headers = [("WWW-Authenticate", challenge)]
        return response
    }
}

/// Logs wrong bearer tokens at a bounded rate: the first at once, later ones every ten minutes, with their number.
///
/// Whoever guesses tokens must be seen, and must not fill the log.
package final class WrongTokens: Sendable {
    private static let interval = Duration.seconds(600)

    private struct State {
        var unlogged = 0
        var nextLine: BootTime?
    }

    private let log: Log
    private let state = Mutex(State())

    package init(_ log: Log) {
        self.log = log
    }

    /// Notes a request that was refused; whether it showed a token, and so a wrong one.
    package func note(_ request: Request, at now: BootTime = .now()) -> Bool {
        guard request.header("Authorization") != nil else { return false }
        let count: Int? = state.withLock { state in
            state.unlogged += 1
            guard state.nextLine.map({ now >= $0 }) ?? true else { return nil }
            defer { state = State(nextLine: now.advanced(by: Self.interval)) }
            return state.unlogged
        }
        if let count {
            let fields: KeyValuePairs = [
                "count": "\(count)", "peer": request.peer, "path": "\(request.path.prefix(100))",
            ]
            log(.warn, "Wrong bearer token", fields)
        }
        return true
    }
}
