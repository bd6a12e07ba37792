import Posix

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
