import Posix

extension Server {
    /// Connections taken in one turn from one listener.
    private static let acceptBatch = 64
    private static let shortagePause = Duration.milliseconds(200)

    mutating func acceptConnections() throws(SystemError) {
        let now = BootTime.now()
        if let end = pausedUntil, end <= now { pausedUntil = nil }
        for (index, listener) in listeners.enumerated() where polled.isReady(index) {
            try accept(from: listener, at: now)
        }
    }

    private mutating func accept(from listener: Listener, at now: BootTime) throws(SystemError) {
        let before = counters.accepted
        do throws(SystemError) {
            for _ in 0..<Self.acceptBatch {
                guard let socket = try listener.socket.accept() else { return }
                counters.accepted += 1
                if connections.count < limits.connections || evictOldest() {
                    let number = counters.accepted
                    connections.append(
                        Connection(socket, number: number, limits: limits, at: now)
                    )
                } else {
                    turnAway(socket)
                }
            }
        } catch {
            guard error.isShortage else { throw error }
            // The kernel looks for a descriptor first, and for a connection then: maybe no further one waits.
            guard counters.accepted == before else { return }
            // The connection keeps waiting, and poll would report it again at once, for ever.
            if !evictOldest() { pausedUntil = now.advanced(by: Self.shortagePause) }
        }
    }

    /// Closes the connection that has been idle for longest; `false` when none is idle.
    private mutating func evictOldest() -> Bool {
        let idle = connections.indices.filter { connections[$0].isExpendable }
        guard let oldest = idle.min(by: { connections[$0].since < connections[$1].since }) else {
            return false
        }
        noteEnd(of: connections.remove(at: oldest))
        counters.evicted += 1
        return true
    }

    private mutating func turnAway(_ socket: borrowing Socket) {
        counters.turnedAway += 1
        counters.rejections.add(.unavailable)
        var room = scratch.mutableSpan
        _ = socket.receive(into: &room)  // Closing with unread bytes would reset the answer away.
        var outbox = Outbox()
        var total = 0
        outbox.fill(Response(.crowded), withBody: true, .close)
        _ = outbox.send(to: socket, total: &total)
        socket.finishSending()
    }
}
