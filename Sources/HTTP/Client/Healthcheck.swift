import Posix

/// Asks a server once whether it is well, for `HEALTHCHECK` in an image that has no curl.
package struct Healthcheck: Equatable, Sendable {
    package static let defaultTimeout = Duration.seconds(3)

    package let url: HealthcheckURL
    /// For all of it.
    package let timeout: Duration
    /// The User-Agent.
    let agent: String

    /// The status line is all that is looked at.
    private static let mostBytes = 1024

    package init(_ url: HealthcheckURL, timeout: Duration, agent: String) {
        (self.url, self.timeout, self.agent) = (url, timeout, agent)
    }

    /// - Throws: why the server is not well: no answer in time, or a status that is not from 200 to 399.
    package func run() throws(Unhealthy) {
        let deadline = BootTime.now().advanced(by: timeout)
        let socket = try connect(until: deadline)
        send(over: socket)
        let line = try statusLine(from: socket, until: deadline)
        guard let status = Self.status(of: line) else { throw trouble("the answer is not HTTP") }
        guard (200...399).contains(status) else { throw trouble("\(status)") }
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
        throw trouble(failures.joined(separator: "; "))
    }

    /// A new connection has room for a request; a failure shows when the answer is read.
    private func send(over socket: borrowing Socket) {
        let lines = [
            "GET \(url.target) HTTP/1.1", "Host: \(url.host)",
            "User-Agent: \(agent)", "Connection: close", "", "",
        ]
        _ = socket.send(Array(lines.joined(separator: "\r\n").utf8).span)
    }

    private func statusLine(
        from socket: borrowing Socket,
        until deadline: BootTime
    ) throws(Unhealthy) -> [UInt8] {
        var received: [UInt8] = []
        var room = [UInt8](repeating: 0, count: Self.mostBytes)
        while true {
            try waitForBytes(from: socket, until: deadline)
            var span = room.mutableSpan
            switch socket.receive(into: &span) {
            case .wouldBlock: continue
            case .closed, .lost: throw trouble("the connection ended without an answer")
            case .moved(let count): received += room[..<count]
            }
            if let end = received.firstIndex(of: UInt8(ascii: "\n")) {
                return Array(received[..<end])
            }
            guard received.count < Self.mostBytes else { throw trouble("the answer is not HTTP") }
        }
    }

    private func waitForBytes(
        from socket: borrowing Socket,
        until deadline: BootTime
    ) throws(Unhealthy) {
        var set = PollSet()
        set.append(socket.rawValue, for: .reading)
        repeat {
            guard deadline > .now() else { throw trouble("no answer within \(timeout.text)") }
            do throws(SystemError) {
                _ = try set.wait(until: deadline)
            } catch {
                throw trouble("\(error)")
            }
        } while !set.isReady(0)
    }

    /// The code of a status line (RFC 9112 §4).
    private static func status(of line: [UInt8]) -> Int? {
        let parts = String(decoding: line, as: UTF8.self).split(separator: " ")
        guard parts.count >= 2, parts[0].hasPrefix("HTTP/1."), parts[1].utf8.count == 3 else {
            return nil
        }
        return Int(parts[1])
    }

    private func trouble(_ reason: String) -> Unhealthy {
        Unhealthy(description: "\(url): \(reason)")
    }
}

/// Why a server is not well, with its URL.
package struct Unhealthy: Error, CustomStringConvertible {
    package let description: String
}
