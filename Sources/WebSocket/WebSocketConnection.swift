package import HTTP
package import Posix

/// One client; used by one thread, which polls its descriptor.
package final class WebSocketConnection {
    package struct Limits: Sendable {
        /// Maximum bytes of a message from the client; the server uses none of them.
        package var messageBytes = 16 << 10
        /// Maximum bytes that wait to be sent; a slower client is disconnected.
        package var queuedBytes = 1 << 20
        /// Time without a byte from the client after which it is pinged.
        package var silence = Duration.seconds(20)
        /// Time for the pong.
        package var pong = Duration.seconds(20)
        /// Time for the client to answer a Close and to close the connection.
        package var close = Duration.seconds(2)

        package init() {}
    }

    /// RFC 6455 §7.1.
    private enum State {
        case open
        /// The server has sent Close and waits for the client's.
        case closing
        /// Both sides have sent Close, or the client violated the protocol: its bytes are ignored until it closes.
        case draining
        case closed
    }

    private var state = State.open
    private let connection: UpgradedConnection
    private let limits: Limits
    private var reader: WebSocketReader
    private var queue = SendQueue()
    private var lastReceived: BootTime
    private var hasPinged = false
    /// The end of a connection that is no longer open.
    private var deadline: BootTime?

    package init(_ connection: UpgradedConnection, _ limits: Limits, at now: BootTime) {
        (self.connection, self.limits) = (connection, limits)
        reader = WebSocketReader(limit: limits.messageBytes)
        lastReceived = now
        read(connection.received, at: now)
    }

    package var isClosed: Bool { state == .closed }

    package var descriptor: CInt { connection.socket.rawValue }

    /// The event to poll for: while bytes wait to be sent, nothing is read.
    package var interest: EventLoop.Interest { queue.isEmpty ? .reading : .writing }

    /// When `tick` must be called even if nothing arrives.
    package var nextDeadline: BootTime {
        if let deadline { return deadline }
        let pingTime = lastReceived.advanced(by: limits.silence)
        return hasPinged ? pingTime.advanced(by: limits.pong) : pingTime
    }

    /// Sends a frame; all clients may share its bytes.
    package func send(_ frame: [UInt8]) {
        guard state == .open else { return }
        push(frame)
    }

    /// Begins the closing handshake.
    package func close(_ reason: WebSocketClose, at now: BootTime) {
        guard state == .open else { return }
        end(in: .closing, sending: reason, at: now)
    }

    /// Handles readiness of the socket.
    package func serve(with scratch: inout [UInt8], at now: BootTime) {
        guard queue.isEmpty else { return flush() }
        var room = scratch.mutableSpan
        switch connection.socket.receive(into: &room) {
        case .moved(let count): read(scratch[..<count], at: now)
        case .wouldBlock: break
        case .closed, .lost: state = .closed
        }
    }

    /// Sends a ping, or closes the connection, if its time has come.
    package func tick(at now: BootTime) {
        guard nextDeadline <= now else { return }
        guard state == .open, !hasPinged else {
            state = .closed
            return
        }
        hasPinged = true
        push(WebSocketFrame.encode(.ping, []))
    }

    private func read(_ received: some Collection<UInt8>, at now: BootTime) {
        guard state == .open || state == .closing else { return }
        (lastReceived, hasPinged) = (now, false)
        reader.append(received)
        do throws(WebSocketClose) {
            while state == .open || state == .closing, let event = try reader.next() {
                switch event {
                case .text, .binary, .pong: break
                case .ping(let payload): send(WebSocketFrame.encode(.pong, payload))
                case .close(let reason): end(in: .draining, sending: reason, at: now)
                }
            }
        } catch {
            end(in: .draining, sending: error, at: now)
        }
    }

    /// Sends Close, unless it has been sent; the client has a limited time to close the connection.
    private func end(in next: State, sending reason: WebSocketClose?, at now: BootTime) {
        let hasSentClose = state == .closing
        state = next
        deadline = deadline ?? now.advanced(by: limits.close)
        if !hasSentClose { push(WebSocketFrame.encode(.close, reason?.payload ?? [])) }
        finishIfSent()
    }

    private func push(_ frame: [UInt8]) {
        queue.append(frame)
        flush()
        if queue.byteCount > limits.queuedBytes { state = .closed }
    }

    private func flush() {
        guard queue.send(to: connection.socket) else {
            state = .closed
            return
        }
        finishIfSent()
    }

    /// The server closes first (RFC 6455 §7.1.1), after its last frame has been sent.
    private func finishIfSent() {
        guard state == .draining, queue.isEmpty else { return }
        connection.socket.finishSending()
    }
}

/// Frames that the kernel has not accepted yet.
private struct SendQueue {
    private var frames: [[UInt8]] = []
    /// Bytes of the first frame that have been sent.
    private var sent = 0
    private(set) var byteCount = 0

    var isEmpty: Bool { frames.isEmpty }

    mutating func append(_ frame: [UInt8]) {
        frames.append(frame)
        byteCount += frame.count
    }

    /// Sends as much as the kernel accepts; `false` if the connection is lost.
    mutating func send(to socket: borrowing Socket) -> Bool {
        while let frame = frames.first {
            switch socket.send(frame.span.extracting(droppingFirst: sent)) {
            case .moved(let count):
                sent += count
                byteCount -= count
                if sent == frame.count {
                    frames.removeFirst()
                    sent = 0
                }
            case .wouldBlock: return true
            case .closed, .lost: return false
            }
        }
        return true
    }
}
