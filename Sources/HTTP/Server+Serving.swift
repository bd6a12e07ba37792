import Posix

extension Server {
    /// Requests of one connection in one turn; more wait for the next, behind the other connections.
    private static let batch = 16

    /// `first` is the place of the first connection in the poll set.
    mutating func serveConnections(from first: Int, _ handle: (Request) -> Response) {
        let now = BootTime.now()
        var someLeft = false
        for (index, connection) in connections.enumerated() {
            if polled.isReady(first + index) || connection.hasWork {
                serve(connection, handle, at: now)
            } else if connection.deadline <= now {
                expire(connection, at: now)
            }
            if !connection.pending.isEmpty { settle(connection, at: now) }
            if connection.takesNoRequest { noteEnd(of: connection) }
            if connection.phase == .upgraded { upgraded.append(connection) }
            if connection.hasLeft { someLeft = true }
        }
        if someLeft { connections.removeAll { $0.hasLeft } }
    }

    /// For `takeEnded`.
    mutating func noteEnd(of connection: Connection) {
        guard connection.tellsEnd else { return }
        connection.tellsEnd = false
        ended.append(connection.number)
    }

    private mutating func serve(
        _ connection: Connection,
        _ handle: (Request) -> Response,
        at now: BootTime
    ) {
        switch connection.phase {
        case .silent, .idle, .receiving:
            if !connection.hasWork { connection.receive(by: &scratch, at: now) }
        case .sending: connection.send(at: now)
        case .draining: connection.discard(by: &scratch, at: now)
        case .upgraded, .closed: break
        }
        answerRequests(of: connection, handle)
    }

    private mutating func answerRequests(
        of connection: Connection,
        _ handle: (Request) -> Response
    ) {
        var count = 0
        connection.hasWork = false
        while connection.phase == .receiving {
            guard count < Self.batch else {
                connection.hasWork = true
                break
            }
            guard answerNext(of: connection, handle) else { break }
            count += 1
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
            let response = handle(request)
            counters.responses.add(response.status)
            let closes = closing || !request.keepsAlive
            connection.answer(request, with: response, closing: closes, at: .now())
            return true
        case .reject(let rejection):
            refuse(connection, rejection, at: .now())
            return true
        }
    }

    private mutating func refuse(
        _ connection: Connection,
        _ rejection: Rejection,
        at now: BootTime
    ) {
        counters.rejections.add(rejection.status)
        connection.answer(nil, with: Response(rejection), closing: true, at: now)
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
