import Glibc
package import Posix
import Synchronization

/// The host names by which browsers may address a server: a protection against DNS rebinding.
///
/// A page of `evil.example` can make a browser send requests to this server once that name resolves to the server's
/// address. To the browser both are one origin, so the page may read the responses. The Host field of such requests
/// contains that name. So a browser's request is refused unless its host is an IP address, `localhost` or a name below it,
/// this machine's own name, or a name that the operator allows. Requests of other programs, such as scrapers and
/// kubelets, are not examined.
package struct HostPolicy: Sendable {
    private let names: Set<String>
    /// Pages of these origins may use any name: they cannot be an attacker's.
    private let trustedOrigins: Set<String>

    /// `allowed` are names for which `isName` holds; `trustedOrigins` have the form of an `Origin` field.
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

    /// Whether a setting is a host name: letters, digits, dots, dashes and underscores, without scheme and port.
    package static func isName(_ text: String) -> Bool {
        let parts = canonical(text).utf8.split(separator: 0x2E, omittingEmptySubsequences: false)
        return text.utf8.count <= 253
            && parts.allSatisfy { part in
                (1...63).contains(part.count)
                    && part.allSatisfy { $0.isDigit || $0.isLetter || $0 == 0x2D || $0 == 0x5F }
            }
    }

    /// The error for a setting that is not a host name.
    package static func validationError(for text: String) -> String {
        "\(text.debugDescription) is not a host name: give it without scheme, port and path"
    }

    /// Whether a request of a browser uses a permitted name.
    func allows(_ request: Request) -> Bool {
        let origins = request.headers("Origin")
        if origins.count == 1, trustedOrigins.contains(origins[0]) { return true }
        return request.hosts.allSatisfy(isPermitted)
    }

    /// `host` is from a valid request, without its port.
    private func isPermitted(_ host: String) -> Bool {
        if host.isEmpty || host.hasPrefix("[") { return true }
        if case .v4? = IPAddress(host) { return true }
        let name = Self.canonical(host)
        return names.contains(name) || name.hasSuffix(".localhost")
    }

    /// In lower case, and without the final dot of a fully qualified name.
    private static func canonical(_ name: String) -> String {
        let name = name.lowercased()
        return name.hasSuffix(".") ? String(name.dropLast()) : name
    }
}

/// The machine's name, with `gethostname(2)`; in a container, the container's.
package func machineName() -> String {
    var name = [CChar](repeating: 0, count: 256)
    guard unsafe gethostname(&name, name.count - 1) == 0 else { return "" }
    return String(decoding: name.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
}

/// A bearer token (RFC 6750): a secret that clients send in the Authorization field.
package struct BearerToken: Sendable {
    /// A longer token would not fit in the head of a request beside its other fields.
    package static let maxBytes = 4096

    private let bytes: [UInt8]

    /// Reads the content of a token's file; white space at its end is not part of the token.
    ///
    /// `nil` unless the rest is 1 to `maxBytes` visible ASCII characters.
    package init?(_ content: [UInt8]) {
        let blanks: [UInt8] = [.space, .tab, .carriageReturn, .lineFeed]
        let end = content.lastIndex { !blanks.contains($0) } ?? -1
        guard (0..<Self.maxBytes).contains(end), content[...end].allSatisfy(\.isVisible) else {
            return nil
        }
        bytes = Array(content[...end])
    }

    /// The answer to a request without the token; `nil` for a request with it.
    package func refusal(of request: Request) -> Response? {
        guard let field = request.header("Authorization") else {
            return Self.unauthorized(challenge: "Bearer")
        }
        let scheme = "Bearer "
        let value = Array(field.utf8)
        guard value.span.extracting(first: scheme.utf8.count).equalsIgnoringCase(scheme),
            isEqual(to: value[scheme.utf8.count...].drop { $0 == .space })
        else { return Self.unauthorized(challenge: "Bearer error=\"invalid_token\"") }
        return nil
    }

    /// Asks for credentials (RFC 9110 §15.5.2).
    private static func unauthorized(challenge: String) -> Response {
        var response = Response.text(.unauthorized, "unauthorized")
        response.headers = [("WWW-Authenticate", challenge)]
        return response
    }

    /// Takes a time that depends only on the length of `given`, so that a token cannot be guessed byte by byte.
    private func isEqual(to given: ArraySlice<UInt8>) -> Bool {
        var difference = UInt8(given.count == bytes.count ? 0 : 1)
        for (index, byte) in given.enumerated() { difference |= byte ^ bytes[index % bytes.count] }
        return difference == 0
    }
}

/// A file with a bearer token, which is read again when it changes.
package struct BearerTokenFile {
    private let path: String
    private let log: Log
    private var token: BearerToken
    /// The version of the file that was read; `nil` when it must be read again in any case.
    private var version: Version?
    private var checkedAt: BootTime
    /// Why the file could not be read again; logged once.
    private var failure: String?

    private static let checkInterval = Duration.seconds(1)

    /// Distinguishes two contents of a file; Kubernetes replaces a mounted secret by moving a symbolic link.
    private struct Version: Equatable {
        let device: UInt64
        let inode: UInt64
        let size: Int
        let modified: WallTime

        init(_ status: stat) {
            (device, inode) = (UInt64(status.st_dev), UInt64(status.st_ino))
            (size, modified) = (Int(status.st_size), status.modifiedAt)
        }

        /// Time stamps are coarse: another change within the same clock tick would not be visible.
        var isSettled: Bool { WallTime.now().nanoseconds > modified.nanoseconds + 100_000_000 }
    }

    /// - Throws: when the file cannot be read, or contains no token.
    package init(path: String, log: Log) throws(BearerTokenError) {
        (self.path, self.log, checkedAt) = (path, log, .now())
        (token, version) = try Self.read(path)
        warnIfShared()
    }

    private func warnIfShared() {
        guard let status = try? FileSystem.status(of: path), status.isReadableByOthers else {
            return
        }
        log(.warn, "File with a secret is readable by all users", ["file": path])
    }

    /// The answer to a request without the token; `nil` for a request with it.
    ///
    /// Checks the file at most once a second; the last token stays valid while the file cannot be read.
    package mutating func refusal(of request: Request, now: BootTime = .now()) -> Response? {
        if now.since(checkedAt) >= Self.checkInterval {
            checkedAt = now
            refresh()
        }
        return token.refusal(of: request)
    }

    private mutating func refresh() {
        if let version, let status = try? FileSystem.status(of: path), version == Version(status) {
            return
        }
        do throws(BearerTokenError) {
            (token, version) = try Self.read(path)
            warnIfShared()
            if failure != nil { log(.info, "Bearer token readable again", ["file": path]) }
            failure = nil
        } catch {
            version = nil
            guard failure != error.description else { return }
            failure = error.description
            log(.warn, "Bearer token not readable; the last one stays valid", ["error": "\(error)"])
        }
    }

    private static func read(_ path: String) throws(BearerTokenError) -> (BearerToken, Version?) {
        do throws(SystemError) {
            // Nonblocking, because the path may name a pipe.
            let file = try FileDescriptor(opening: path, O_RDONLY | O_NONBLOCK)
            let version = Version(try file.status())
            let content = try file.readAll(atMost: BearerToken.maxBytes + 2)
            if let token = content.flatMap({ BearerToken($0) }) {
                return (token, version.isSettled ? version : nil)
            }
        } catch {
            throw BearerTokenError(description: "\(path): \(error.reason)")
        }
        let rule = "1 to \(BearerToken.maxBytes) visible ASCII characters"
        throw BearerTokenError(description: "\(path): a token consists of \(rule)")
    }
}

/// Why a file contains no usable token: its path and the reason.
package struct BearerTokenError: Error, CustomStringConvertible {
    package let description: String
}

/// Logs wrong bearer tokens at a limited rate: the first at once, later ones every ten minutes with their number.
///
/// Attempts to guess a token must be visible, and must not fill the log.
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

    /// Records a refused request; `true` if it had a token, which is therefore wrong.
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
