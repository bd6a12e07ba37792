package import Posix

/// The address of a health check: `http://HOST[:PORT]/PATH`, or `unix:/SOCKET:/PATH`.
///
/// A host is an IP address or `localhost`: a static binary has no resolver, and a container's own check needs none.
package struct HealthcheckURL: Equatable, Sendable, CustomStringConvertible {
    package let description: String
    /// The addresses to connect to, in the order of the attempts.
    package let addresses: [ListenAddress]
    /// The Host field.
    package let host: String
    /// Path and query.
    package let target: String

    package init(_ text: String) throws(HealthcheckURLError) {
        description = text
        // A space or a line break would end the target or the field in the request.
        guard text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }), text.utf8.count <= 2048 else {
            throw Self.invalid(text, "is not a URL")
        }
        if text.hasPrefix("unix:") {
            (addresses, host, target) = try Self.unixParts(text)
        } else if text.hasPrefix("http://") {
            (addresses, host, target) = try Self.internetParts(text)
        } else {
            throw Self.invalid(text, "begins neither with http:// nor with unix:")
        }
    }

    private typealias Parts = (addresses: [ListenAddress], host: String, target: String)

    private static func internetParts(_ text: String) throws(HealthcheckURLError) -> Parts {
        let rest = text.dropFirst("http://".count).prefix { $0 != "#" }
        let end = rest.firstIndex { $0 == "/" || $0 == "?" } ?? rest.endIndex
        let authority = String(rest[..<end])
        guard !authority.isEmpty, !authority.hasPrefix(":") else {
            throw invalid(text, "has no host")
        }
        let target = rest[end...].hasPrefix("/") ? String(rest[end...]) : "/\(rest[end...])"
        do throws(ListenAddressError) {
            return (try addresses(of: authority), authority, target)
        } catch {
            if case .hostName = error {
                throw invalid(text, "has a host name: use an IP address or localhost")
            }
            throw invalid(text, "has no usable host: \(error)")
        }
    }

    private static func addresses(
        of authority: String
    ) throws(ListenAddressError) -> [ListenAddress] {
        let hasPort = authority.last != "]" && authority.contains(":")
        let full = hasPort ? authority : "\(authority):80"
        guard full.lowercased().hasPrefix("localhost:") else { return [try ListenAddress(full)] }
        let port = full.dropFirst("localhost".count)
        return [try ListenAddress("127.0.0.1\(port)"), try ListenAddress("[::1]\(port)")]
    }

    private static func unixParts(_ text: String) throws(HealthcheckURLError) -> Parts {
        guard let colon = text.lastIndex(of: ":"), text[colon...].hasPrefix(":/"),
            let address = try? ListenAddress(String(text[..<colon]))
        else { throw invalid(text, "does not have the form unix:/SOCKET:/PATH") }
        return ([address], "localhost", String(text[text.index(after: colon)...]))
    }

    private static func invalid(_ text: String, _ reason: String) -> HealthcheckURLError {
        HealthcheckURLError(description: "\(text.debugDescription) \(reason)")
    }
}

/// Why a text is not the URL of a health check, in one line.
package struct HealthcheckURLError: Error, Equatable, CustomStringConvertible, Sendable {
    package let description: String
}

/// A single health check, for `HEALTHCHECK` in an image without curl.
package struct Healthcheck: Equatable, Sendable {
    package static let defaultTimeout = Duration.seconds(3)

    package let url: HealthcheckURL
    /// For the complete check.
    package let timeout: Duration
    /// The User-Agent.
    private let agent: String

    /// Only the status line is read.
    private static let maxBytes = 1024

    package init(_ url: HealthcheckURL, timeout: Duration, agent: String) {
        (self.url, self.timeout, self.agent) = (url, timeout, agent)
    }

    /// - Throws: when no response arrives in time, or its status is not from 200 to 399.
    package func run() throws(Unhealthy) {
        let deadline = BootTime.now().advanced(by: timeout)
        let socket = try connect(until: deadline)
        let lines = [
            "GET \(url.target) HTTP/1.1", "Host: \(url.host)",
            "User-Agent: \(agent)", "Connection: close", "", "",
        ]
        // A new connection has room for a request; a failure shows when the response is read.
        _ = socket.send(Array(lines.joined(separator: "\r\n").utf8).span)
        let line = try statusLine(from: socket, until: deadline)
        guard let status = Self.status(of: line) else { throw failure("the answer is not HTTP") }
        guard (200...399).contains(status) else { throw failure("\(status)") }
    }

    private func connect(until deadline: BootTime) throws(Unhealthy) -> Socket {
        var failures: [String] = []
        for address in url.addresses {
            do throws(SystemError) {
                return try Socket(connectedTo: address, until: deadline)
            } catch {
                failures.append("\(error)")
            }
        }
        throw failure(failures.joined(separator: "; "))
    }

    private func statusLine(
        from socket: borrowing Socket,
        until deadline: BootTime
    ) throws(Unhealthy) -> [UInt8] {
        var received: [UInt8] = []
        var room = [UInt8](repeating: 0, count: Self.maxBytes)
        while true {
            try waitForBytes(from: socket, until: deadline)
            var span = room.mutableSpan
            switch socket.receive(into: &span) {
            case .wouldBlock: continue
            case .closed, .lost: throw failure("the connection ended without an answer")
            case .moved(let count): received += room[..<count]
            }
            if let end = received.firstIndex(of: .lineFeed) { return Array(received[..<end]) }
            guard received.count < Self.maxBytes else { throw failure("the answer is not HTTP") }
        }
    }

    private func waitForBytes(
        from socket: borrowing Socket,
        until deadline: BootTime
    ) throws(Unhealthy) {
        var loop = EventLoop()
        loop.watch(socket.rawValue, for: .reading)
        repeat {
            guard deadline > .now() else { throw failure("no answer within \(timeout.text)") }
            do throws(SystemError) {
                _ = try loop.wait(until: deadline)
            } catch {
                throw failure("\(error)")
            }
        } while !loop.isReady(0)
    }

    /// The code of a status line (RFC 9112 §4).
    private static func status(of line: [UInt8]) -> Int? {
        let parts = String(decoding: line, as: UTF8.self).split(separator: " ")
        guard parts.count >= 2, parts[0].hasPrefix("HTTP/1."), parts[1].utf8.count == 3 else {
            return nil
        }
        return Int(parts[1])
    }

    private func failure(_ reason: String) -> Unhealthy {
        Unhealthy(description: "\(url): \(reason)")
    }
}

/// Why a server is not healthy, with its URL.
package struct Unhealthy: Error, CustomStringConvertible {
    package let description: String
}
