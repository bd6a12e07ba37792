package import Posix

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

extension Connection {
    /// Starts a response and sends what the kernel takes at once.
    ///
    /// `request` is `nil` when it could not be read; the response has no body then, too, if it began as one by HEAD.
    func answer(
        _ request: Request?,
        with response: Response,
        date: DateField,
        closing: Bool,
        at now: BootTime
    ) {
        if response.tellsEnd { tellsEnd = true }
        if response.tag != nil { habit = max(habit, .scraped) }
        announced = response.tag.map {
            let path = request?.path ?? ""
            return Delivery(path: path, status: response.status, peer: socket.peer, tag: $0)
        }
        outbox.fill(
            response,
            withBody: request.map { $0.method != .head } ?? !inbox.beginsWithHead,
            date,
            Self.persistence(after: response, to: request, closing: closing)
        )
        enter(.sending, at: now)
        send(at: now)
    }

    private static func persistence(
        after response: Response,
        to request: Request?,
        closing: Bool
    ) -> ResponseHead.Persistence {
        if response.status == .switchingProtocols { return .unsaid }
        if closing { return .close }
        return request?.isHTTP10 == true ? .keepAlive : .unsaid
    }

    /// Goes on with the response; once it is sent, the connection waits for the next request or ends.
    func send(at now: BootTime) {
        switch outbox.send(to: socket, total: &sent) {
        case .blocked: return
        case .lost: return enter(.closed, at: now)
        case .done: break
        }
        if outbox.status == .switchingProtocols { return enter(.upgraded, at: now) }
        watchDelivery(at: now)
        if outbox.closes {
            socket.finishSending()
            _ = inbox.takeAll()
            enter(.draining, at: now)
        } else {
            enter(inbox.isEmpty ? .idle : .receiving, at: now)
        }
    }

    private func watchDelivery(at now: BootTime) {
        guard let announced else { return }
        pending.append(announced, end: sent, at: now, limit: limits.response)
        self.announced = nil
    }

    /// Asks for the content of a request whose sender waits for that (RFC 9110 §10.1.1).
    func sendContinue(at now: BootTime) {
        guard parser.expectsContinue, !hasContinued else { return }
        hasContinued = true
        let interim = Array("HTTP/1.1 100 Continue\r\n\r\n".utf8)
        // A full buffer drops it: a client must not wait for ever, says the RFC.
        switch socket.send(interim.span) {
        case .moved(let count) where count == interim.count: sent += count
        case .wouldBlock: break
        case .moved, .closed, .lost: enter(.closed, at: now)
        }
    }

    /// The responses whose bytes have been acknowledged since the last call.
    func settle(at now: BootTime) -> [Delivery] {
        guard !pending.isEmpty else { return [] }
        // As long as the kernel does not say, nothing has arrived.
        let open = (try? socket.unacknowledgedBytes()) ?? sent
        return pending.settle(acknowledged: sent - open, at: now)
    }
}

/// Bytes of a connection that no request has taken yet.
struct Inbox {
    private var bytes: [UInt8] = []
    private var start = 0

    var isEmpty: Bool { start == bytes.count }

    mutating func append(_ received: ArraySlice<UInt8>) {
        bytes.append(contentsOf: received)
    }

    /// Reads the next request; what it takes is gone.
    mutating func next(_ parser: inout RequestParser, peer: String) -> RequestParser.Outcome {
        let outcome = parser.parse(bytes.span.extracting(droppingFirst: start), peer: peer)
        if case .request(_, let consumed) = outcome { start += consumed }
        return outcome
    }

    /// Whether the next request is one by HEAD, as far as can be seen.
    var beginsWithHead: Bool {
        let rest = bytes.span.extracting(droppingFirst: start)
        let line = rest.extracting(droppingFirst: rest.extracting(first: 2).equals("\r\n") ? 2 : 0)
        return line.extracting(first: 5).equals("HEAD ")
    }

    /// Moves what is left to the front; called once for all requests that one arrival held.
    mutating func compact() {
        guard start > 0 else { return }
        let keeps = bytes.capacity <= Self.keptCapacity
        bytes.replaceSubrange(..<start, with: EmptyCollection())
        if bytes.isEmpty, !keeps { bytes = [] }
        start = 0
    }

    /// Takes out all that is left.
    mutating func takeAll() -> [UInt8] {
        defer { (bytes, start) = ([], 0) }
        return Array(bytes[start...])
    }

    /// What an idle connection may hold on to.
    private static let keptCapacity = 2048
}

/// The response that a connection is sending; its buffer serves all of them.
struct Outbox {
    private var head: [UInt8] = []
    private var body: [UInt8] = []
    private var sent = 0
    /// The status of the response.
    private(set) var status = Status.ok
    /// Whether the connection ends with this response.
    private(set) var closes = false

    /// Takes the next response; the one before has been sent.
    mutating func fill(
        _ response: Response,
        withBody: Bool,
        _ date: DateField,
        _ persistence: ResponseHead.Persistence
    ) {
        head.removeAll(keepingCapacity: true)
        ResponseHead.append(response, date, persistence, to: &head)
        body = withBody && !response.status.forbidsContent ? response.body : []
        status = response.status
        closes = persistence == .close
        sent = 0
    }

    /// What a response that is on its way takes of memory, all but its head.
    var heldBytes: Int { body.count }

    enum Progress { case done, blocked, lost }

    /// Sends as much as the kernel takes; adds to `total` what it took.
    mutating func send(to socket: borrowing Socket, total: inout Int) -> Progress {
        switch sendRest(to: socket) {
        case .moved(let count):
            sent += count
            total += count
        case .wouldBlock: return .blocked
        case .closed, .lost: return .lost
        }
        // The kernel's buffer is full; poll tells when it is not.
        guard sent == head.count + body.count else { return .blocked }
        body = []  // Other connections may be sharing it.
        return .done
    }

    private func sendRest(to socket: borrowing Socket) -> Socket.Transfer {
        if sent < head.count {
            socket.send(head.span.extracting(droppingFirst: sent), body.span)
        } else {
            socket.send(body.span.extracting(droppingFirst: sent - head.count))
        }
    }
}

/// Responses of one connection that are written but not known to be acknowledged.
///
/// The kernel gives no event for an acknowledgement, so it is asked again after growing pauses.
struct PendingDeliveries {
    private var entries: [(delivery: Delivery, end: Int)] = []
    private var pause = Self.firstPause
    /// When to ask next; `nil` while nothing is pending.
    private(set) var check: BootTime?
    /// When to give the connection up.
    private(set) var deadline: BootTime?

    private static let firstPause = Duration.milliseconds(1)
    private static let longestPause = Duration.milliseconds(256)

    var isEmpty: Bool { entries.isEmpty }

    /// Adds a response that ends after `end` bytes of all that the connection has sent.
    mutating func append(_ delivery: Delivery, end: Int, at now: BootTime, limit: Duration) {
        entries.append((delivery, end))
        pause = Self.firstPause
        (check, deadline) = (now, now.advanced(by: limit))
    }

    /// Takes out what lies within the first `acknowledged` bytes.
    mutating func settle(acknowledged: Int, at now: BootTime) -> [Delivery] {
        let settled = entries.prefix { $0.end <= acknowledged }
        entries.removeFirst(settled.count)
        if entries.isEmpty {
            (check, deadline) = (nil, nil)
        } else {
            check = now.advanced(by: pause)
            pause = min(pause * 2, Self.longestPause)
        }
        return settled.map(\.delivery)
    }
}

/// A response whose last byte the client's kernel has acknowledged.
package struct Delivery: Hashable, Sendable {
    package let path: String
    package let status: Status
    package let peer: String
    /// As the handler set it in the response.
    package let tag: UInt64
}

/// A connection that has left the server: after a 101 it speaks another protocol (RFC 9110 §7.8).
package struct Upgraded: ~Copyable, Sendable {
    package let socket: Socket
    /// What has arrived after the request, and is of the new protocol.
    package let received: [UInt8]
    /// As the handler set it in the response.
    package let tag: UInt64?
}
