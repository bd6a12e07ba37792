package import Posix

/// Serves HTTP/1.1 on one thread, in turns: the caller owns the loop.
///
/// No call blocks but the wait for all descriptors at once, so a slow or silent client never delays another. Nothing
/// wakes it without a reason: a connection that is idle costs one wake-up, when its time is over.
package struct Server: ~Copyable {
    package let limits: Limits
    package internal(set) var counters = Counters()
    /// Answers `Connection: close` from now on, so that no idle connection looks like a customer.
    package var closing = false
    /// Which names a browser may call this server by; `nil` allows all.
    package var hosts: HostPolicy?
    let listeners: [Listener]
    var connections: [Connection] = []
    var deliveries: [Delivery] = []
    var ended: [UInt64] = []
    var upgraded: [Connection] = []
    var polled = PollSet()
    /// The connections of a turn that something has arrived for; kept, so that a turn allocates nothing.
    var waiting: [Connection] = []
    var date = DateField(.now())
    private var crowding = CrowdingReport()
    /// Until when no connection is accepted, because there was no descriptor for it.
    var pausedUntil: BootTime?
    /// What arrives for any connection passes through here.
    var scratch: [UInt8] = Array(repeating: 0, count: 1 << 14)

    /// Listens on all of `addresses`, or on none.
    package init(on addresses: [ListenAddress], limits: Limits = Limits()) throws(SystemError) {
        var listeners: [Listener] = []
        for address in addresses {
            // Who lists both families means each of them.
            let ipv6Only = addresses.contains(where: address.isBothFamilies(beside:))
            listeners.append(Listener(try ListeningSocket(on: address, ipv6Only: ipv6Only)))
        }
        self.listeners = listeners
        self.limits = limits
    }

    /// Where it listens, with the ports that the kernel chose.
    package var addresses: [ListenAddress] { listeners.map { $0.socket.address } }

    package var openConnections: Int { connections.count }

    /// Connections with a request or a response under way, or whose acknowledgement is awaited.
    package var busyConnections: Int { connections.count { $0.isBusy } }

    /// Waits until something is ready, or `deadline`, and serves all that is.
    ///
    /// `blocked` is a descriptor of the caller's that has no room: the wait ends when it has.
    /// Without a deadline, and with no connection open, it waits for ever; a signal ends the wait.
    /// - Returns: those of `descriptors` that are readable.
    /// - Throws: when the server cannot go on; never for what a client does.
    package mutating func turn(
        until deadline: BootTime? = nil,
        alsoWatching descriptors: [CInt] = [],
        orRoomIn blocked: CInt? = nil,
        handle: (Request) -> Response
    ) throws(SystemError) -> [CInt] {
        let alarm = fillPollSet(alsoWatching: descriptors)
        if let blocked { polled.append(blocked, for: .writing) }
        _ = try polled.wait(until: Self.earliest(deadline, alarm))
        let readable = descriptors.indices.filter { polled.isReady(listeners.count + $0) }
        let now = BootTime.now()
        date.update(to: .now())
        findWaiting(from: listeners.count + descriptors.count)
        // A new client waits for no other: its request has mostly come with its connection.
        try acceptConnections(at: now, until: now.advanced(by: limits.turn * 0.5), handle)
        serveWaiting(until: now.advanced(by: limits.turn), handle)
        finishTurn(at: now)
        return readable.map { descriptors[$0] }
    }

    /// How many connections were closed to make room since the last report, every ten minutes at most; `nil` if none.
    package mutating func crowdingReport(at now: BootTime = .now()) -> UInt64? {
        crowding.next(counters.evicted, at: now)
    }

    /// The responses with a tag that were acknowledged since the last call.
    package mutating func takeDeliveries() -> [Delivery] {
        defer { deliveries.removeAll() }
        return deliveries
    }

    /// The connections that have ended since the last call, of those that a response asked to be told of.
    package mutating func takeEnded() -> [UInt64] {
        defer { ended.removeAll() }
        return ended
    }

    /// Hands over the next connection that a handler has answered with 101.
    ///
    /// - Throws: when there is no descriptor for it; the connection is closed then.
    package mutating func nextUpgraded() throws(SystemError) -> Upgraded? {
        guard !upgraded.isEmpty else { return nil }
        return try upgraded.removeFirst().handOver()
    }

    /// Enters all that is waited for; the result is when a connection needs attention by itself.
    private mutating func fillPollSet(alsoWatching descriptors: [CInt]) -> BootTime? {
        polled.removeAll()
        var alarm = pausedUntil
        for listener in listeners {
            polled.append(listener.socket.rawValue, for: alarm == nil ? .reading : .nothing)
        }
        for descriptor in descriptors { polled.append(descriptor, for: .reading) }
        for connection in connections {
            polled.append(connection.socket.rawValue, for: connection.interest)
            let next = connection.hasWork ? BootTime(nanoseconds: 0) : connection.alarm
            alarm = Self.earliest(alarm, next)
        }
        return alarm
    }

    private static func earliest(_ first: BootTime?, _ second: BootTime?) -> BootTime? {
        guard let first, let second else { return first ?? second }
        return min(first, second)
    }
}

/// Reports a count that has grown, at once and then every ten minutes.
private struct CrowdingReport {
    private static let pause = Duration.seconds(600)

    private var reported: UInt64 = 0
    private var reportedAt: BootTime?

    mutating func next(_ count: UInt64, at now: BootTime) -> UInt64? {
        guard count > reported else { return nil }
        if let reportedAt, now.since(reportedAt) < Self.pause { return nil }
        defer { (reported, reportedAt) = (count, now) }
        return count - reported
    }
}

extension ListenAddress {
    /// Whether it is every IPv6 address, and `other` every IPv4 address of the same port.
    fileprivate func isBothFamilies(beside other: ListenAddress) -> Bool {
        guard case .internet(.v6(.zero), let port) = self else { return false }
        return port > 0 && other == .internet(.v4(0), port: port)
    }
}

extension Server {
    private static let shortagePause = Duration.milliseconds(200)

    /// Takes the connections that wait, until `end`, and answers those whose requests have come with them.
    mutating func acceptConnections(
        at now: BootTime,
        until end: BootTime,
        _ handle: (Request) -> Response
    ) throws(SystemError) {
        if let end = pausedUntil, end <= now { pausedUntil = nil }
        for (index, listener) in listeners.enumerated() where polled.isReady(index) {
            try accept(from: listener, until: end, handle)
        }
    }

    private mutating func accept(
        from listener: Listener,
        until end: BootTime,
        _ handle: (Request) -> Response
    ) throws(SystemError) {
        let before = counters.accepted
        do throws(SystemError) {
            repeat {
                guard let socket = try listener.socket.accept() else { return }
                take(socket, handle)
            } while BootTime.now() < end
        } catch {
            guard error.isShortage else { throw error }
            // The kernel looks for a descriptor first, and for a connection then: maybe no further one waits.
            guard counters.accepted == before else { return }
            // The connection keeps waiting, and poll would report it again at once, for ever.
            let now = BootTime.now()
            if !makeRoom(at: now) { pausedUntil = now.advanced(by: Self.shortagePause) }
        }
    }

    private mutating func take(_ socket: consuming Socket, _ handle: (Request) -> Response) {
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
        serve(connection, atMost: 1, handle, at: now)
        finishServing(connection, at: now)
        if connection.hasLeft {
            connections.removeLast()
        } else if connections.count > limits.connections {
            _ = makeRoom(for: connection, at: .now())
        }
    }

    /// Closes the connection that can best be spared; `false` when there is none.
    private mutating func makeRoom(for newcomer: Connection? = nil, at now: BootTime) -> Bool {
        guard let index = Admission.victim(among: connections, for: newcomer, at: now) else {
            return false
        }
        let connection = connections.remove(at: index)
        if connection.use(at: now) != .finished { counters.evicted += 1 }
        if connection.phase == .receiving {
            connection.discard(by: &scratch, at: now)  // Unread bytes would reset the answer away.
            if !connection.hasLeft { refuse(connection, .crowded, at: now) }
        }
        connection.enter(.closed, at: now)
        noteEnd(of: connection)
        return true
    }
}

extension Server {
    /// Requests of one connection in one turn, when no other waits; with others that wait each has its share of them.
    private static let batch = 16

    /// Finds the connections that have something to do, the one first that has waited for longest.
    ///
    /// `first` is the place of the first connection in the poll set.
    mutating func findWaiting(from first: Int) {
        for (index, connection) in connections.enumerated()
        where polled.isReady(first + index) || connection.hasWork {
            connection.isWaiting = true
            waiting.append(connection)
        }
        if waiting.count > 1 { waiting.sort { $0.servedAt < $1.servedAt } }
    }

    /// Serves them until `end`; the others wait for the next turn.
    mutating func serveWaiting(until end: BootTime, _ handle: (Request) -> Response) {
        let share = max(1, Self.batch / max(1, waiting.count))
        for connection in waiting where !connection.hasLeft {
            let now = BootTime.now()
            connection.isWaiting = false
            serve(connection, atMost: share, handle, at: now)
            if now >= end { break }
        }
        waiting.removeAll(keepingCapacity: true)  // It would keep those open that were closed.
    }

    /// Does what is due by time, and lets go of the connections that have ended.
    mutating func finishTurn(at now: BootTime) {
        var someLeft = false
        for connection in connections {
            // One that waits is late for the server's sake.
            if connection.deadline <= now, !connection.isWaiting { expire(connection, at: now) }
            finishServing(connection, at: now)
            if connection.hasLeft { someLeft = true }
        }
        if someLeft { connections.removeAll { $0.hasLeft } }
    }

    /// Notes what has become of a connection.
    mutating func finishServing(_ connection: Connection, at now: BootTime) {
        if !connection.pending.isEmpty { settle(connection, at: now) }
        if connection.takesNoRequest { noteEnd(of: connection) }
        if connection.phase == .upgraded { upgraded.append(connection) }
    }

    /// For `takeEnded`.
    mutating func noteEnd(of connection: Connection) {
        guard connection.tellsEnd else { return }
        connection.tellsEnd = false
        ended.append(connection.number)
    }

    /// Goes on with a connection, by `count` requests at most.
    mutating func serve(
        _ connection: Connection,
        atMost count: Int,
        _ handle: (Request) -> Response,
        at now: BootTime
    ) {
        connection.servedAt = now
        switch connection.phase {
        case .silent, .idle, .receiving:
            if !connection.hasWork { connection.receive(by: &scratch, at: now) }
        case .sending: connection.send(at: now)
        case .draining: connection.discard(by: &scratch, at: now)
        case .upgraded, .closed: break
        }
        var answered = 0
        connection.hasWork = false
        while connection.phase == .receiving {
            guard answered < count else {
                connection.hasWork = true
                break
            }
            guard answerNext(of: connection, handle) else { break }
            answered += 1
        }
        connection.inbox.compact()
    }

    /// Answers one request; `false` when none has arrived in whole.
    private mutating func answerNext(
        of connection: Connection,
        _ handle: (Request) -> Response
    ) -> Bool {
        switch connection.inbox.next(&connection.parser, peer: connection.socket.peer) {
        case .needMore:
            connection.sendContinue(at: .now())
            return false
        case .request(var request, _):
            request.connection = connection.number
            connection.hasContinued = false
            if let hosts, !hosts.admits(request) {
                refuse(connection, .foreignHost, to: request, at: .now())
                return true
            }
            let response = handle(request)
            counters.responses.add(response.status)
            let closes = closing || !request.keepsAlive || isCrowded(for: connection)
            let now = BootTime.now()
            connection.answer(request, with: response, date: date, closing: closes, at: now)
            if connection.phase == .sending { boundResponses(for: connection, at: now) }
            return true
        case .reject(let rejection):
            refuse(connection, rejection, at: .now())
            return true
        }
    }

    /// Whether a client that is new had better come by another connection: this one might be closed at any time.
    private func isCrowded(for connection: Connection) -> Bool {
        connection.habit == .once && connections.count >= limits.connections
    }

    /// Closes the connections of slow readers until the responses that are on their way take no more than they may.
    ///
    /// Every scrape gives a page of its own, so those that nobody takes would be held as often as there are connections.
    private mutating func boundResponses(for newcomer: Connection, at now: BootTime) {
        var held = connections.reduce(0) { $0 + $1.outbox.heldBytes }
        while held > limits.responseBytes,
            let index = Admission.slowestReader(among: connections, for: newcomer)
        {
            let slowest = connections[index]
            held -= slowest.outbox.heldBytes
            counters.evicted += 1
            slowest.outbox = Outbox()  // The connection itself stays until the end of the turn.
            slowest.enter(.closed, at: now)
        }
    }

    mutating func refuse(
        _ connection: Connection,
        _ rejection: Rejection,
        to request: Request? = nil,
        at now: BootTime
    ) {
        counters.rejections.add(rejection.status)
        let response = Response(rejection)
        connection.answer(request, with: response, date: date, closing: true, at: now)
    }

    /// Ends a phase that has taken too long.
    private mutating func expire(_ connection: Connection, at now: BootTime) {
        switch connection.phase {
        case .receiving: refuse(connection, .late, at: now)
        case .silent, .idle, .sending, .draining, .upgraded, .closed:
            connection.enter(.closed, at: now)
        }
    }

    private mutating func settle(_ connection: Connection, at now: BootTime) {
        guard let check = connection.pending.check,
            check <= now || connection.isMuted || connection.phase == .closed
        else { return }
        deliveries += connection.settle(at: now)
        if let deadline = connection.pending.deadline {
            if deadline <= now { connection.enter(.closed, at: now) }
        } else if connection.isMuted {
            connection.enter(.closed, at: now)
        }
    }
}

/// How much a client may ask of a server.
package struct Limits: Sendable {
    /// Open at once; beyond it one makes room, see `Admission`.
    package var connections = 256
    /// For the requests of one turn; those that are left wait for the next, behind the others.
    package var turn = Duration.milliseconds(5)
    /// The longest head of a request.
    package var headBytes = 8192
    /// The longest content of a request; 0 refuses any.
    package var contentBytes = 0
    /// From a request's first byte, or from the start of a connection that stays silent, to the request's last byte.
    package var request = Duration.seconds(10)
    /// From a response's first byte until the client has taken the last.
    package var response = Duration.seconds(10)
    /// Between two requests of a connection.
    package var idle = Duration.seconds(300)
    /// Of all responses together that clients have not taken; beyond it the slowest reader loses its connection.
    package var responseBytes = 16 << 20
    /// For the client to close a connection that the server has finished; until then its last bytes are at risk.
    package var drain = Duration.seconds(2)

    package init() {}
}

/// What a server has done since its start.
package struct Counters: Sendable {
    /// Connections taken.
    package internal(set) var accepted: UInt64 = 0
    /// Connections closed to make room for others.
    package internal(set) var evicted: UInt64 = 0
    /// Responses of the handler.
    package internal(set) var responses = StatusCounts()
    /// Requests that the server itself refused, before a handler saw them.
    package internal(set) var rejections = StatusCounts()
}

/// How often each status was sent.
package struct StatusCounts: Sendable {
    /// In the order of their first use: a server sends few different ones.
    private var entries: [(status: Status, count: UInt64)] = []
    package private(set) var total: UInt64 = 0

    package subscript(_ status: Status) -> UInt64 {
        entries.first { $0.status == status }?.count ?? 0
    }

    /// All that were sent, by rising code.
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

/// Lets an array hold listening sockets, which cannot be copied.
final class Listener: Sendable {
    let socket: ListeningSocket

    init(_ socket: consuming ListeningSocket) {
        self.socket = socket
    }
}
