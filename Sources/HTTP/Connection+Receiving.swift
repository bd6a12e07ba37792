import Posix

extension Connection {
    /// Takes what has arrived into the inbox by way of `scratch`.
    func receive(by scratch: inout [UInt8], at now: BootTime) {
        switch take(into: &scratch) {
        case .wouldBlock: break
        case .closed: clientClosed(at: now)
        case .lost: enter(.closed, at: now)
        case .moved(let count):
            inbox.append(scratch[..<count])
            if phase == .idle { habit = .returning }
            if phase != .receiving { enter(.receiving, at: now) }
        }
    }

    /// Throws away what has arrived.
    func discard(by scratch: inout [UInt8], at now: BootTime) {
        switch take(into: &scratch) {
        case .moved, .wouldBlock: break
        case .closed: clientClosed(at: now)
        case .lost: enter(.closed, at: now)
        }
    }

    /// The client sends no more; the connection stays only for an acknowledgement that is still to come.
    private func clientClosed(at now: BootTime) {
        guard !pending.isEmpty else { return enter(.closed, at: now) }
        isMuted = true
        if phase != .draining { enter(.draining, at: now) }
    }

    private func take(into scratch: inout [UInt8]) -> Socket.Transfer {
        var room = scratch.mutableSpan
        return socket.receive(into: &room)
    }
}
