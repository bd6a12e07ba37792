import Posix

/// One client: its socket, what it has sent, what it is being sent, and how long that may take.
final class Connection {
    /// Where a connection stands between two turns.
    enum Phase {
        /// Nothing has ever arrived.
        case silent
        /// Between two requests.
        case idle
        /// In the middle of a request.
        case receiving
        /// In the middle of a response.
        case sending
        /// The server has finished; what still arrives is thrown away until the client closes (RFC 9112 §9.6).
        case draining
        /// The next protocol has begun; the server passes the connection on.
        case upgraded
        case closed
    }

    /// Unlike a descriptor's, never given again.
    let number: UInt64
    let socket: Socket
    let peer: Peer
    let limits: Limits
    private(set) var phase = Phase.silent
    /// When the phase began, and when it ends by itself.
    private(set) var since: BootTime
    private(set) var deadline: BootTime
    var inbox = Inbox()
    var outbox = Outbox()
    var parser: RequestParser
    var pending = PendingDeliveries()
    /// The delivery to be watched once the response is sent.
    var announced: Delivery?
    /// Whether its end is to be told.
    var tellsEnd = false
    /// Bytes sent in all.
    var sent = 0
    /// Whether requests may wait in the inbox that this turn had no time for.
    var hasWork = false
    /// Whether the client has closed its side and only acknowledgements are awaited.
    var isMuted = false
    /// Whether the client has been told to send the content that it holds back.
    var hasContinued = false
    /// When the server last spent time on it: the one that has waited for longest is served first.
    var servedAt = BootTime(nanoseconds: 0)
    /// Whether something has arrived, or can be sent, that no turn had time for yet.
    var isWaiting = false
    var habit = Admission.Habit.once

    init(
        _ socket: consuming Socket,
        of peer: Peer,
        number: UInt64,
        limits: Limits,
        at now: BootTime
    ) {
        peer.connections += 1
        self.number = number
        self.socket = socket
        self.peer = peer
        self.limits = limits
        parser = RequestParser(headLimit: limits.headBytes, contentLimit: limits.contentBytes)
        since = now
        deadline = now.advanced(by: limits.request)
    }

    deinit { peer.connections -= 1 }

    func enter(_ phase: Phase, at now: BootTime) {
        self.phase = phase
        since = now
        switch phase {
        case .silent, .receiving: deadline = now.advanced(by: limits.request)
        case .idle: deadline = now.advanced(by: limits.idle)
        case .sending: deadline = now.advanced(by: limits.response)
        case .draining: deadline = max(now.advanced(by: limits.drain), pending.deadline ?? now)
        case .upgraded, .closed: break
        }
    }

    /// What to poll for.
    var interest: PollSet.Interest {
        switch phase {
        case .silent, .idle, .receiving: hasWork ? .nothing : .reading
        case .sending: .writing
        case .draining: isMuted ? .nothing : .reading
        case .upgraded, .closed: .nothing
        }
    }

    /// When the connection needs attention even if nothing arrives.
    var alarm: BootTime {
        guard let check = pending.check else { return deadline }
        return min(check, deadline)
    }

    /// Whether the server has no more to do with it.
    var hasLeft: Bool { phase == .upgraded || phase == .closed }

    /// Whether no further request can come by it.
    var takesNoRequest: Bool { phase == .draining || hasLeft }

    /// What the speaker of the next protocol needs; this connection's own descriptor closes with it.
    func handOver() throws(SystemError) -> Upgraded {
        Upgraded(socket: try socket.duplicate(), received: inbox.takeAll(), tag: announced?.tag)
    }

    /// Whether a request or a response is under way, or an acknowledgement awaited.
    var isBusy: Bool {
        switch phase {
        case .receiving, .sending: true
        case .silent, .idle, .draining, .upgraded, .closed: !pending.isEmpty
        }
    }
}
