package import Posix

/// One client: its socket, the bytes received from it and to be sent to it, and the deadlines for both.
final class Connection {
    /// The state between two turns of the server.
    enum State {
        /// Nothing has arrived.
        case new
        /// Between two requests.
        case idle
        /// A request has arrived in part.
        case receiving
        /// A response has been sent in part.
        case sending
        /// The server has sent everything; further bytes are discarded until the client closes (RFC 9112 §9.6).
        case draining
        /// The next protocol has begun; the server hands the connection over.
        case upgraded
        case closed
    }

    /// How the client has used the connection so far; a connection with a lower value is closed first.
    enum Habit: Int, Comparable {
        /// One request, or several at a time.
        case once
        /// A scrape.
        case scraped
        /// Another request after a pause.
        case returning

        static func < (left: Habit, right: Habit) -> Bool { left.rawValue < right.rawValue }
    }

    /// Unlike a descriptor, never used again.
    let number: UInt64
    let peer: Peer
    private(set) var state = State.new
    /// When the state began.
    private(set) var since: BootTime
    private(set) var habit = Habit.once
    /// Whether complete requests may remain in the buffer that the last turn had no time for.
    private(set) var hasBufferedRequests = false
    /// When the server last served it: the connection that has waited longest is served first.
    var servedAt = BootTime(nanoseconds: 0)
    /// Whether the socket was ready in a turn that had no time for it.
    var isWaiting = false

    private let socket: Socket
    private let limits: Limits
    /// When the state ends without an event.
    private var deadline: BootTime
    private var parser: RequestParser
    private var received = ReceiveBuffer()
    private var response = SendBuffer()
    /// Total bytes sent.
    private var sentBytes = 0
    /// What to report once the current response is sent and acknowledged.
    private var pendingReport: AcknowledgedResponse?
    private var unacknowledged = UnacknowledgedResponses()
    private var hasSentContinue = false
    /// Whether the client has closed its side, and the connection stays open only for acknowledgements.
    private var peerHasClosed = false
    private var reportsEnd = false

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

    private func enter(_ state: State, at now: BootTime) {
        self.state = state
        since = now
        switch state {
        case .new, .receiving: deadline = now.advanced(by: limits.request)
        case .idle: deadline = now.advanced(by: limits.idle)
        case .sending: deadline = now.advanced(by: limits.response)
        case .draining:
            deadline = max(now.advanced(by: limits.drain), unacknowledged.deadline ?? now)
        case .upgraded, .closed: break
        }
    }

    func close(at now: BootTime) {
        response = SendBuffer()  // The object itself remains until the end of the turn.
        enter(.closed, at: now)
    }

    /// Whether the server has no more to do with it.
    var isFinished: Bool { state == .upgraded || state == .closed }

    /// Whether a request or a response is incomplete, or an acknowledgement outstanding.
    var isBusy: Bool {
        switch state {
        case .receiving, .sending: true
        case .new, .idle, .draining, .upgraded, .closed: awaitsAcknowledgement
        }
    }

    var awaitsAcknowledgement: Bool { !unacknowledged.isEmpty }

    /// Memory for the response that is being sent, except its head.
    var heldBytes: Int { response.heldBytes }

    /// `true` once, when no further request can arrive and a response asked for a report of that.
    func removeEndReport() -> Bool {
        guard reportsEnd, state == .draining || isFinished else { return false }
        reportsEnd = false
        return true
    }

    // MARK: Waiting

    var descriptor: CInt { socket.rawValue }

    /// What to poll the descriptor for.
    var interest: EventLoop.Interest {
        switch state {
        case .new, .idle, .receiving: hasBufferedRequests ? .nothing : .reading
        case .sending: .writing
        case .draining: peerHasClosed ? .nothing : .reading
        case .upgraded, .closed: .nothing
        }
    }

    /// When the connection needs attention even if its descriptor does not become ready.
    var nextDeadline: BootTime {
        if hasBufferedRequests { return BootTime(nanoseconds: 0) }
        return min(unacknowledged.nextCheck ?? deadline, deadline)
    }

    /// Whether the state has lasted too long; a connection that waits for the server is not overdue.
    func isOverdue(at now: BootTime) -> Bool { deadline <= now && !isWaiting }

    // MARK: Receiving

    /// Receives or sends as much as the socket allows; received bytes pass through `scratch`.
    func transfer(through scratch: inout [UInt8], at now: BootTime) {
        servedAt = now
        isWaiting = false
        switch state {
        case .new, .idle, .receiving:
            if !hasBufferedRequests { receive(through: &scratch, at: now) }
        case .sending: send(at: now)
        case .draining: discard(through: &scratch, at: now)
        case .upgraded, .closed: break
        }
    }

    private func receive(through scratch: inout [UInt8], at now: BootTime) {
        guard let count = read(into: &scratch, at: now) else { return }
        received.append(scratch[..<count])
        if state == .idle { habit = .returning }
        if state != .receiving { enter(.receiving, at: now) }
    }

    /// Discards what has arrived.
    func discard(through scratch: inout [UInt8], at now: BootTime) {
        _ = read(into: &scratch, at: now)
    }

    /// The number of bytes that arrived; `nil` when none did, which may end the connection.
    private func read(into scratch: inout [UInt8], at now: BootTime) -> Int? {
        var room = scratch.mutableSpan
        switch socket.receive(into: &room) {
        case .moved(let count): return count
        case .wouldBlock: return nil
        case .lost:
            close(at: now)
            return nil
        case .closed:
            // The client sends no more; only acknowledgements can still arrive.
            if awaitsAcknowledgement {
                peerHasClosed = true
                if state != .draining { enter(.draining, at: now) }
            } else {
                close(at: now)
            }
            return nil
        }
    }

    /// The next request; `nil` when none has arrived completely.
    func nextRequest() -> Result<Request, Rejection>? {
        guard state == .receiving else { return nil }
        switch received.next(&parser, peer: socket.peer) {
        case .needMore:
            sendContinue(at: .now())
            return nil
        case .reject(let rejection): return .failure(rejection)
        case .request(var request, _):
            request.connection = number
            hasSentContinue = false
            return .success(request)
        }
    }

    /// Ends a series of `nextRequest` calls; `stopped` when there was no time for more.
    func endRequests(stopped: Bool) {
        hasBufferedRequests = stopped && state == .receiving
        received.compact()
    }

    /// Asks for the content of a request whose sender waits for that (RFC 9110 §10.1.1).
    private func sendContinue(at now: BootTime) {
        guard parser.expectsContinue, !hasSentContinue else { return }
        hasSentContinue = true
        let interim = Array("HTTP/1.1 100 Continue\r\n\r\n".utf8)
        switch socket.send(interim.span) {
        case .moved(let count) where count == interim.count: sentBytes += count
        case .wouldBlock: break  // The RFC forbids clients to wait for it indefinitely.
        case .moved, .closed, .lost: close(at: now)
        }
    }

    // MARK: Sending

    /// Starts a response and sends as much as the kernel accepts at once.
    ///
    /// `request` is `nil` when it could not be parsed.
    func respond(
        to request: Request?,
        with response: Response,
        _ date: DateField,
        closing: Bool,
        at now: BootTime
    ) {
        if response.reportsEnd { reportsEnd = true }
        if response.tag != nil { habit = max(habit, .scraped) }
        pendingReport = response.tag.map {
            let path = request?.path ?? ""
            return AcknowledgedResponse(
                path: path,
                status: response.status,
                peer: socket.peer,
                tag: $0
            )
        }
        let connectionField: Response.ConnectionField =
            if response.status == .switchingProtocols {
                .omitted
            } else if closing {
                .close
            } else {
                request?.isHTTP10 == true ? .keepAlive : .omitted
            }
        // A response to HEAD has no body, even when the rest of the request could not be parsed.
        let hasBody = request.map { $0.method != .head } ?? !received.startsWithHead
        self.response.fill(with: response, hasBody: hasBody, date, connectionField)
        enter(.sending, at: now)
        send(at: now)
    }

    private func send(at now: BootTime) {
        switch response.send(to: socket, total: &sentBytes) {
        case .blocked: return
        case .lost: return close(at: now)
        case .done: break
        }
        if response.status == .switchingProtocols { return enter(.upgraded, at: now) }
        if let report = pendingReport {
            unacknowledged.append(report, end: sentBytes, at: now, timeout: limits.response)
            pendingReport = nil
        }
        if response.closes {
            socket.finishSending()
            _ = received.removeAll()
            enter(.draining, at: now)
        } else {
            enter(received.isEmpty ? .idle : .receiving, at: now)
        }
    }

    /// Removes the responses that have been acknowledged; closes the connection if it was open only for them.
    func removeAcknowledged(at now: BootTime) -> [AcknowledgedResponse] {
        guard let check = unacknowledged.nextCheck,
            check <= now || peerHasClosed || state == .closed
        else { return [] }
        // If the kernel does not say, nothing counts as acknowledged.
        let open = (try? socket.unacknowledgedBytes()) ?? sentBytes
        let acknowledged = unacknowledged.remove(firstBytes: sentBytes - open, at: now)
        if unacknowledged.deadline.map({ $0 <= now }) ?? peerHasClosed { close(at: now) }
        return acknowledged
    }

    /// What the implementation of the next protocol needs; this object's own descriptor closes with it.
    func handOver() throws(SystemError) -> UpgradedConnection {
        UpgradedConnection(
            socket: try socket.duplicate(),
            received: received.removeAll(),
            tag: pendingReport?.tag
        )
    }
}

/// A response whose last byte the client's kernel has acknowledged.
package struct AcknowledgedResponse: Hashable, Sendable {
    package let path: String
    package let status: Status
    package let peer: String
    /// As the handler set it in the response.
    package let tag: UInt64
}

/// A connection that has left HTTP: after a 101 response it uses another protocol (RFC 9110 §7.8).
package final class UpgradedConnection: Sendable {
    package let socket: Socket
    /// Bytes of the new protocol that arrived after the request.
    package let received: [UInt8]
    /// As the handler set it in the response.
    package let tag: UInt64?

    init(socket: consuming Socket, received: [UInt8], tag: UInt64?) {
        self.socket = socket
        (self.received, self.tag) = (received, tag)
    }
}

/// Received bytes that no request has consumed yet.
private struct ReceiveBuffer {
    private var bytes: [UInt8] = []
    private var start = 0

    /// Maximum memory of an idle connection's buffer.
    private static let maxKeptCapacity = 2048

    var isEmpty: Bool { start == bytes.count }

    mutating func append(_ received: ArraySlice<UInt8>) {
        bytes.append(contentsOf: received)
    }

    /// Parses the next request, and consumes its bytes.
    mutating func next(_ parser: inout RequestParser, peer: String) -> RequestParser.Outcome {
        let outcome = parser.parse(bytes.span.extracting(droppingFirst: start), peer: peer)
        if case .request(_, let consumed) = outcome { start += consumed }
        return outcome
    }

    /// Whether the next request uses HEAD, as far as its bytes have arrived.
    var startsWithHead: Bool {
        let rest = bytes.span.extracting(droppingFirst: start)
        let line = rest.extracting(droppingFirst: rest.extracting(first: 2).equals("\r\n") ? 2 : 0)
        return line.extracting(first: 5).equals("HEAD ")
    }

    /// Moves the remaining bytes to the front; once for all requests that arrived together.
    mutating func compact() {
        guard start > 0 else { return }
        let keepsCapacity = bytes.capacity <= Self.maxKeptCapacity
        bytes.replaceSubrange(..<start, with: EmptyCollection())
        if bytes.isEmpty, !keepsCapacity { bytes = [] }
        start = 0
    }

    mutating func removeAll() -> [UInt8] {
        defer { (bytes, start) = ([], 0) }
        return Array(bytes[start...])
    }
}

/// The response that a connection is sending; the buffer is used again for the next one.
private struct SendBuffer {
    private var head: [UInt8] = []
    private var body: [UInt8] = []
    private var sent = 0
    /// The status of the response.
    private(set) var status = Status.ok
    /// Whether the connection ends with this response.
    private(set) var closes = false

    enum Progress { case done, blocked, lost }

    var heldBytes: Int { body.count }

    /// Replaces the previous response, which has been sent.
    mutating func fill(
        with response: Response,
        hasBody: Bool,
        _ date: DateField,
        _ connection: Response.ConnectionField
    ) {
        head.removeAll(keepingCapacity: true)
        response.appendHead(to: &head, date, connection)
        body = hasBody && !response.status.forbidsContent ? response.body : []
        status = response.status
        closes = connection == .close
        sent = 0
    }

    /// Sends as much as the kernel accepts, and adds that number of bytes to `total`.
    mutating func send(to socket: borrowing Socket, total: inout Int) -> Progress {
        let transfer =
            if sent < head.count {
                socket.send(head.span.extracting(droppingFirst: sent), body.span)
            } else {
                socket.send(body.span.extracting(droppingFirst: sent - head.count))
            }
        switch transfer {
        case .moved(let count):
            sent += count
            total += count
        case .wouldBlock: return .blocked
        case .closed, .lost: return .lost
        }
        guard sent == head.count + body.count else { return .blocked }
        body = []  // Other connections may share it.
        return .done
    }
}

/// Responses of one connection that are sent but not acknowledged.
///
/// The kernel reports no event for an acknowledgement, so it is checked at growing intervals.
private struct UnacknowledgedResponses {
    private var entries: [(response: AcknowledgedResponse, end: Int)] = []
    private var interval = Self.minInterval
    /// The time of the next check; `nil` when there are no responses.
    private(set) var nextCheck: BootTime?
    /// The time at which the connection is closed.
    private(set) var deadline: BootTime?

    private static let minInterval = Duration.milliseconds(1)
    private static let maxInterval = Duration.milliseconds(256)

    var isEmpty: Bool { entries.isEmpty }

    /// Adds a response that ends after the first `end` bytes that the connection has sent.
    mutating func append(
        _ response: AcknowledgedResponse,
        end: Int,
        at now: BootTime,
        timeout: Duration
    ) {
        entries.append((response, end))
        interval = Self.minInterval
        (nextCheck, deadline) = (now, now.advanced(by: timeout))
    }

    /// Removes the responses that lie within the first `count` bytes.
    mutating func remove(firstBytes count: Int, at now: BootTime) -> [AcknowledgedResponse] {
        let acknowledged = entries.prefix { $0.end <= count }
        entries.removeFirst(acknowledged.count)
        if entries.isEmpty {
            (nextCheck, deadline) = (nil, nil)
        } else {
            nextCheck = now.advanced(by: interval)
            interval = min(interval * 2, Self.maxInterval)
        }
        return acknowledged.map(\.response)
    }
}
