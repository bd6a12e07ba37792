import FuzzSupport
import Glibc

@testable import HTTP
@testable import Posix
@testable import WebSocket

/// A client of the broadcaster that says anything is answered to the byte: each Ping with its Pong, and one Close at the end.
func converse(_ bytes: [UInt8]) {
    do throws(SystemError) {
        let line = try Line()
        var settings = WebSocketConnection.Limits()
        settings.messageBytes = Reading.limit
        let client = WebSocketConnection(try line.connection(), settings, at: .now())
        var scratch = [UInt8](repeating: 0, count: bytes.count + 1)
        for piece in pieces(of: bytes) {
            try line.client.writeAll(piece.span)
            client.serve(with: &scratch, at: .now())
        }
        let expected = answers(to: Reading(of: [bytes]))
        require(line.received() == expected, "the client is told \(expected)")
    } catch {
        fatalError("\(error)")
    }
}

private func answers(to reading: Reading) -> [UInt8] {
    var answers: [UInt8] = []
    for event in reading.events {
        switch event {
        case .ping(let payload): answers += WebSocketFrame.encode(.pong, payload)
        case .close(let close): return answers + WebSocketFrame.encode(.close, close?.payload ?? [])
        case .text, .binary, .pong: break
        }
    }
    return answers + (reading.close.map { WebSocketFrame.encode(.close, $0.payload) } ?? [])
}

/// A connection that has changed its protocol, and its other end.
private struct Line: ~Copyable {
    let client: FileDescriptor
    private let server: CInt

    init() throws(SystemError) {
        var ends: [CInt] = [-1, -1]
        guard socketpair(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0, &ends) == 0 else {
            throw SystemError(call: "socketpair", code: errno)
        }
        client = FileDescriptor(adopting: ends[1])
        server = ends[0]
    }

    /// To be taken once, for it owns the server's end.
    func connection() throws(SystemError) -> UpgradedConnection {
        let end = FileDescriptor(adopting: server)
        let socket = try Socket(adopting: end, peer: SocketAddress())
        return UpgradedConnection(socket: socket, received: [], tag: nil)
    }

    /// What the client has been sent.
    func received() -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 1 << 16)
        let count = recv(client.rawValue, &bytes, bytes.count, CInt(MSG_DONTWAIT))
        return Array(bytes.prefix(max(0, count)))
    }
}
