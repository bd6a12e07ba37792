import Posix

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
