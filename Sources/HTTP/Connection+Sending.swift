import Posix

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
