import HTTP
import Posix

/// One client of the broadcaster; lives on the broadcaster's thread.
final class WebSocketClient {
    /// Bounds of a client.
    struct Settings: Sendable {
        /// Of a message from the client, in bytes; none is of any use.
        var message = 16 << 10
        /// Bytes that may wait to be sent; a client that is slower is dropped.
        var outbox = 1 << 20
        /// After so long a silence the client is asked whether it is there.
        var silence = Duration.seconds(20)
        /// Time for the answer.
        var patience = Duration.seconds(20)
        /// Time for the client to answer a Close, and to close the connection.
        var farewell = Duration.seconds(2)
    }

    /// Where a connection stands, RFC 6455 §7.1.
    enum Phase: Equatable {
        case open
        /// Our Close is on its way; the client's is awaited.
        case closing
        /// Both sides have said Close, or the client broke a rule: what still arrives is thrown away until it closes.
        case draining
        case closed
    }

    private(set) var phase = Phase.open
    private let arrival: WebSocketArrival
    private let settings: Settings
    private var reader: WebSocketReader
    private var outbox = WebSocketOutbox()
    private var lastHeard: BootTime
    private var hasPinged = false
    /// When a connection that is not open any more is given up.
    private var deadline: BootTime?

    init(_ arrival: WebSocketArrival, _ settings: Settings, at now: BootTime) {
        (self.arrival, self.settings) = (arrival, settings)
        reader = WebSocketReader(limit: settings.message)
        lastHeard = now
        take(arrival.upgraded.received, at: now)
    }

    var descriptor: CInt { arrival.upgraded.socket.rawValue }

    /// What to poll for: a client that does not take what it is sent is not listened to either.
    var interest: PollSet.Interest { outbox.isEmpty ? .reading : .writing }

    /// When the client needs attention even if nothing arrives.
    var alarm: BootTime {
        if let deadline { return deadline }
        let silent = lastHeard.advanced(by: settings.silence)
        return hasPinged ? silent.advanced(by: settings.patience) : silent
    }

    /// Sends a frame that was encoded once for all clients.
    func send(_ frame: [UInt8]) {
        guard phase == .open else { return }
        push(frame)
    }

    /// Begins the closing handshake.
    func close(_ reason: WebSocketClose, at now: BootTime) {
        guard phase == .open else { return }
        end(.closing, saying: reason, at: now)
    }

    /// Does what the socket is ready for.
    func serve(by scratch: inout [UInt8], at now: BootTime) {
        guard outbox.isEmpty else { return flush() }
        var room = scratch.mutableSpan
        switch arrival.upgraded.socket.receive(into: &room) {
        case .moved(let count): take(scratch[..<count], at: now)
        case .wouldBlock: break
        case .closed, .lost: phase = .closed
        }
    }

    /// Does what is due at its time.
    func tick(at now: BootTime) {
        guard alarm <= now else { return }
        guard phase == .open, !hasPinged else {
            phase = .closed
            return
        }
        hasPinged = true
        push(WebSocketFrame.encode(.ping, []))
    }
}

extension WebSocketClient {
    private func take(_ received: some Collection<UInt8>, at now: BootTime) {
        guard phase == .open || phase == .closing else { return }
        (lastHeard, hasPinged) = (now, false)
        reader.append(received)
        do throws(WebSocketClose) {
            while phase == .open || phase == .closing, let event = try reader.next() {
                take(event, at: now)
            }
        } catch {
            end(.draining, saying: error, at: now)
        }
    }

    private func take(_ event: WebSocketReader.Event, at now: BootTime) {
        switch event {
        case .text, .binary, .pong: break
        case .ping(let payload): send(WebSocketFrame.encode(.pong, payload))
        case .close(let reason): end(.draining, saying: reason, at: now)
        }
    }

    /// Says Close, unless that has been said, and leaves the rest to the client, for a time.
    private func end(_ next: Phase, saying reason: WebSocketClose?, at now: BootTime) {
        let hasSaid = phase == .closing
        phase = next
        deadline = deadline ?? now.advanced(by: settings.farewell)
        if !hasSaid { push(WebSocketFrame.encode(.close, reason?.payload ?? [])) }
        finishIfDone()
    }

    private func push(_ frame: [UInt8]) {
        outbox.append(frame)
        flush()
        if outbox.byteCount > settings.outbox { phase = .closed }
    }

    private func flush() {
        guard outbox.send(to: arrival.upgraded.socket) else {
            phase = .closed
            return
        }
        finishIfDone()
    }

    /// The server is the first to close (RFC 6455 §7.1.1), but not before its last words have been taken.
    private func finishIfDone() {
        guard phase == .draining, outbox.isEmpty else { return }
        arrival.upgraded.socket.finishSending()
    }
}

/// A connection that the HTTP server has handed over.
final class WebSocketArrival: Sendable {
    let upgraded: UpgradedConnection

    init(_ upgraded: consuming UpgradedConnection) {
        self.upgraded = upgraded
    }
}
