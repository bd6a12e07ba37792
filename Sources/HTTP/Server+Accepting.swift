import Posix

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
