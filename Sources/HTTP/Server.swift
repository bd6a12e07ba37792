package import Posix

/// The resources that clients may use.
package struct Limits: Sendable {
    /// Open connections; see `Admission` for which one is closed beyond that.
    package var connections = 256
    /// Time for the requests of one turn; remaining requests wait for the next turn, behind those of other clients.
    package var turn = Duration.milliseconds(5)
    /// Size of a request's head.
    package var headBytes = 8192
    /// Size of a request's content; 0 refuses any.
    package var contentBytes = 0
    /// From a request's first byte, or from the start of a connection that stays silent, to the request's last byte.
    package var request = Duration.seconds(10)
    /// From a response's first byte until the kernel has accepted the last.
    package var response = Duration.seconds(10)
    /// Between two requests of a connection.
    package var idle = Duration.seconds(300)
    /// Memory for all responses that clients have not read; beyond that the slowest reader's connection is closed.
    package var responseBytes = 16 << 20
    /// For the client to close a connection that the server has finished; a reset before that could cost the last bytes.
    package var drain = Duration.seconds(2)

    package init() {}
}

/// Totals since the start of a server.
package struct Counters: Sendable {
    /// Accepted connections.
    package internal(set) var accepted: UInt64 = 0
    /// Connections closed to make room for others.
    package internal(set) var evicted: UInt64 = 0
    /// Responses of the handler.
    package internal(set) var responses = StatusCounts()
    /// Requests that the server refused before a handler received them.
    package internal(set) var rejections = StatusCounts()
}

/// The number of responses by status.
package struct StatusCounts: Sendable {
    /// In the order of their first use: a server sends few different ones.
    private var entries: [(status: Status, count: UInt64)] = []
    package private(set) var total: UInt64 = 0

    package subscript(_ status: Status) -> UInt64 {
        entries.first { $0.status == status }?.count ?? 0
    }

    /// Those that were sent, in the order of their codes.
    package var sorted: [(status: Status, count: UInt64)] {
        entries.sorted { $0.status.code < $1.status.code }
    }

    mutating func add(_ status: Status) {
        total += 1
        if let index = entries.firstIndex(where: { $0.status == status }) {
            entries[index].count += 1
        } else {
            entries.append((status, 1))
        }
    }
}

/// Serves HTTP/1.1 on one thread: a turn of the caller's loop is `prepare`, a wait, and `serve`.
///
/// No call blocks, so a slow or silent client never delays another. An idle connection causes one wake-up, when its time
/// is over.
package struct Server: ~Copyable {
    package let limits: Limits
    package private(set) var counters = Counters()
    /// Whether responses end their connections, so that no idle connection looks like a client that will return.
    package var closing = false
    /// The names by which browsers may address this server; `nil` allows all.
    package var hosts: HostPolicy?
    private let listeners: [Listener]
    private var connections: [Connection] = []
    private var acknowledged: [AcknowledgedResponse] = []
    private var closed: [UInt64] = []
    private var upgraded: [Connection] = []
    /// The index of the first listener in the poll set; the connections follow the listeners.
    private var firstPolled = 0
    /// The connections that a turn has to serve; kept, so that a turn allocates nothing.
    private var ready: [Connection] = []
    private var date = DateField(.now())
    /// No connection is accepted until then, for want of a descriptor.
    private var pausedUntil: BootTime?
    private var evictionReport = EvictionReport()
    /// Received bytes of all connections pass through here.
    private var scratch: [UInt8] = Array(repeating: 0, count: 1 << 14)

    /// Requests of one connection in one turn when no other is ready; otherwise the ready connections share them.
    private static let batch = 16
    /// Pause before the next attempt to accept a connection without a free descriptor.
    private static let retryDelay = Duration.milliseconds(200)

    /// Listens on all of `addresses`, or on none.
    package init(on addresses: [ListenAddress], limits: Limits = Limits()) throws(SystemError) {
        var listeners: [Listener] = []
        for address in addresses {
            // An operator who lists both families means each of them.
            let ipv6Only = addresses.contains(where: address.isBothFamilies(beside:))
            listeners.append(Listener(try ListeningSocket(on: address, ipv6Only: ipv6Only)))
        }
        self.listeners = listeners
        self.limits = limits
    }

    /// The addresses with the ports that the kernel chose.
    package var addresses: [ListenAddress] { listeners.map { $0.socket.address } }

    package var openConnections: Int { connections.count }

    /// Connections with an incomplete request or response, or with an outstanding acknowledgement.
    package var busyConnections: Int { connections.count { $0.isBusy } }

    /// Memory for the responses that are being sent, except their heads.
    var heldResponseBytes: Int { connections.reduce(0) { $0 + $1.heldBytes } }

    /// Adds the descriptors to wait for.
    ///
    /// - Returns: when the server needs a turn without an event; `nil` when only an event can need one.
    package mutating func prepare(_ loop: inout EventLoop) -> BootTime? {
        firstPolled = loop.count
        var nextDeadline = pausedUntil
        for listener in listeners {
            loop.watch(listener.descriptor, for: pausedUntil == nil ? .reading : .nothing)
        }
        for connection in connections {
            loop.watch(connection.descriptor, for: connection.interest)
            let deadline = connection.nextDeadline
            nextDeadline = min(nextDeadline ?? deadline, deadline)
        }
        return nextDeadline
    }

    /// Serves the clients that are ready, without waiting.
    ///
    /// - Throws: when the server cannot continue; never because of a client.
    package mutating func serve(
        _ loop: EventLoop,
        handle: (Request) -> Response
    ) throws(SystemError) {
        let now = BootTime.now()
        date.update(to: .now())
        findReady(in: loop)
        // New clients first: their requests usually arrive with the connection.
        try acceptConnections(loop, at: now, until: now.advanced(by: limits.turn * 0.5), handle)
        serveReady(until: now.advanced(by: limits.turn), handle)
        finishTurn(at: now)
    }

    /// Connections closed to make room for others since the last report, at most every ten minutes; `nil` if none.
    package mutating func evictionsToReport(at now: BootTime = .now()) -> UInt64? {
        evictionReport.next(counters.evicted, at: now)
    }

    /// Removes the responses with a tag that were acknowledged since the last call.
    package mutating func removeAcknowledged() -> [AcknowledgedResponse] {
        defer { acknowledged.removeAll() }
        return acknowledged
    }

    /// Removes the numbers of connections that have ended since the last call, and for which a response requested that.
    package mutating func removeClosed() -> [UInt64] {
        defer { closed.removeAll() }
        return closed
    }

    /// Hands over the next connection that a handler has answered with 101.
    ///
    /// - Throws: when there is no descriptor for it; the connection is closed then.
    package mutating func nextUpgraded() throws(SystemError) -> UpgradedConnection? {
        guard !upgraded.isEmpty else { return nil }
        return try upgraded.removeFirst().handOver()
    }

    // MARK: Accepting

    private mutating func acceptConnections(
        _ loop: EventLoop,
        at now: BootTime,
        until end: BootTime,
        _ handle: (Request) -> Response
    ) throws(SystemError) {
        if let end = pausedUntil, end <= now { pausedUntil = nil }
        for (index, listener) in listeners.enumerated()
        where loop.isReady(firstPolled + index) {
            let before = counters.accepted
            do throws(SystemError) {
                repeat {
                    guard let socket = try listener.socket.accept() else { break }
                    accept(socket, handle)
                } while BootTime.now() < end
            } catch {
                guard error.isResourceShortage else { throw error }
                // accept4 allocates a descriptor before it looks for a connection: there may be no further one.
                guard counters.accepted == before else { continue }
                // The connection stays in the queue, and poll would report it again at once.
                let now = BootTime.now()
                if !makeRoom(at: now) { pausedUntil = now.advanced(by: Self.retryDelay) }
            }
        }
    }

    /// Adds a connection, and answers its first request if that has already arrived.
    private mutating func accept(_ socket: consuming Socket, _ handle: (Request) -> Response) {
        counters.accepted += 1
        let now = BootTime.now()
        let network = Peer.network(of: socket.peer)
        let connection = Connection(
            socket,
            of: connections.first { $0.peer.network == network }?.peer ?? Peer(network),
            number: counters.accepted,
            limits: limits,
            at: now
        )
        connections.append(connection)
        serve(connection, maxRequests: 1, handle, at: now)
        collectResults(of: connection, at: now)
        if connection.isFinished {
            connections.removeLast()
        } else if connections.count > limits.connections {
            _ = makeRoom(for: connection, at: .now())
        }
    }

    /// Closes the connection that `Admission` selects; `false` when there is none.
    private mutating func makeRoom(for newcomer: Connection? = nil, at now: BootTime) -> Bool {
        guard let index = Admission.victim(among: connections, for: newcomer, at: now) else {
            return false
        }
        let connection = connections.remove(at: index)
        if Admission.use(of: connection, at: now) != .finished { counters.evicted += 1 }
        if connection.state == .receiving {
            // Unread bytes would turn the close into a reset, which discards the answer.
            connection.discard(through: &scratch, at: now)
            if !connection.isFinished { reject(connection, .tooManyConnections, at: now) }
        }
        connection.close(at: now)
        collectEnd(of: connection)
        return true
    }

    // MARK: Serving

    /// Finds the connections to serve, ordered by how long they have waited.
    private mutating func findReady(in loop: EventLoop) {
        let first = firstPolled + listeners.count
        for (index, connection) in connections.enumerated()
        where loop.isReady(first + index) || connection.hasBufferedRequests {
            connection.isWaiting = true
            ready.append(connection)
        }
        if ready.count > 1 { ready.sort { $0.servedAt < $1.servedAt } }
    }

    /// Serves them until `end`; the rest waits for the next turn.
    private mutating func serveReady(until end: BootTime, _ handle: (Request) -> Response) {
        let share = max(1, Self.batch / max(1, ready.count))
        for connection in ready where !connection.isFinished {
            let now = BootTime.now()
            serve(connection, maxRequests: share, handle, at: now)
            if now >= end { break }
        }
        ready.removeAll(keepingCapacity: true)  // References would keep closed connections open.
    }

    private mutating func serve(
        _ connection: Connection,
        maxRequests: Int,
        _ handle: (Request) -> Response,
        at now: BootTime
    ) {
        connection.transfer(through: &scratch, at: now)
        var answered = 0
        while answered < maxRequests, let request = connection.nextRequest() {
            answered += 1
            answer(request, on: connection, handle)
        }
        connection.endRequests(stopped: answered == maxRequests)
    }

    private mutating func answer(
        _ request: Result<Request, Rejection>,
        on connection: Connection,
        _ handle: (Request) -> Response
    ) {
        switch request {
        case .failure(let rejection): reject(connection, rejection, at: .now())
        case .success(let request):
            if request.isFromBrowser, let hosts, !hosts.allows(request) {
                return reject(connection, .foreignHost, to: request, at: .now())
            }
            let response = handle(request)
            counters.responses.add(response.status)
            // When all places are taken, a new client's connection might be closed at any time.
            let isCrowded = connection.habit == .once && connections.count >= limits.connections
            let closes = closing || !request.keepsAlive || isCrowded
            let now = BootTime.now()
            connection.respond(to: request, with: response, date, closing: closes, at: now)
            if connection.state == .sending { limitHeldResponses(sparing: connection, at: now) }
        }
    }

    private mutating func reject(
        _ connection: Connection,
        _ rejection: Rejection,
        to request: Request? = nil,
        at now: BootTime
    ) {
        counters.rejections.add(rejection.status)
        connection.respond(to: request, with: Response(rejection), date, closing: true, at: now)
    }

    /// Closes the connections of the slowest readers until the responses that are being sent fit in their memory.
    ///
    /// Every scrape produces its own page, so unread pages could be held once for each connection.
    private mutating func limitHeldResponses(sparing newcomer: Connection, at now: BootTime) {
        var held = heldResponseBytes
        while held > limits.responseBytes,
            let index = Admission.slowestReader(among: connections, for: newcomer)
        {
            held -= connections[index].heldBytes
            counters.evicted += 1
            connections[index].close(at: now)
        }
    }

    /// Ends states that have lasted too long, and removes the connections that have ended.
    private mutating func finishTurn(at now: BootTime) {
        var hasFinished = false
        for connection in connections {
            if connection.isOverdue(at: now) {
                if connection.state == .receiving {
                    reject(connection, .timeout, at: now)
                } else {
                    connection.close(at: now)
                }
            }
            collectResults(of: connection, at: now)
            if connection.isFinished { hasFinished = true }
        }
        if hasFinished { connections.removeAll { $0.isFinished } }
    }

    private mutating func collectResults(of connection: Connection, at now: BootTime) {
        if connection.awaitsAcknowledgement {
            acknowledged += connection.removeAcknowledged(at: now)
        }
        collectEnd(of: connection)
        if connection.state == .upgraded { upgraded.append(connection) }
    }

    private mutating func collectEnd(of connection: Connection) {
        if connection.removeEndReport() { closed.append(connection.number) }
    }
}

/// Lets an array contain listening sockets, which cannot be copied.
private final class Listener: Sendable {
    let socket: ListeningSocket
    let descriptor: CInt

    init(_ socket: consuming ListeningSocket) {
        descriptor = socket.rawValue
        self.socket = socket
    }
}

/// Reports the growth of a count, at once and then at most every ten minutes.
private struct EvictionReport {
    private static let interval = Duration.seconds(600)

    private var reported: UInt64 = 0
    private var reportedAt: BootTime?

    mutating func next(_ count: UInt64, at now: BootTime) -> UInt64? {
        guard count > reported else { return nil }
        if let reportedAt, now.since(reportedAt) < Self.interval { return nil }
        defer { (reported, reportedAt) = (count, now) }
        return count - reported
    }
}

extension ListenAddress {
    /// Whether this is every IPv6 address, and `other` every IPv4 address of the same port.
    fileprivate func isBothFamilies(beside other: ListenAddress) -> Bool {
        guard case .internet(.v6(.zero), let port) = self else { return false }
        return port > 0 && other == .internet(.v4(0), port: port)
    }
}
