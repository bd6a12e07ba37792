import Glibc
import Posix
import Testing

@testable import HTTP

/// A server and the clients of a test, all on the test's own thread: each wait is for both sides at once.
final class Served {
    var server: Server
    private let handle: (Request) -> Response

    init(
        on address: ListenAddress = .internet(.loopback, port: 0),
        limits: Limits = Limits(),
        handle: @escaping (Request) -> Response = { .text(.ok, "\($0.method) \($0.path)") }
    ) throws {
        server = try Server(on: [address], limits: limits)
        self.handle = handle
    }

    /// Connects a client, and waits until the server has it.
    func connect(sending text: String = "", to address: ListenAddress? = nil) throws -> Client {
        let before = server.counters.accepted
        let client = try Client(Socket(connectedTo: address ?? server.addresses[0]))
        while server.counters.accepted == before { try turn() }
        client.send(text)
        return client
    }

    /// One turn that also ends when `client` can be read, or at `deadline`.
    func turn(for client: Client? = nil, until deadline: BootTime? = nil) throws {
        var loop = EventLoop()
        if let client, !client.isClosed { loop.watch(client.socket.rawValue, for: .reading) }
        let next = [server.prepare(&loop), deadline].compactMap(\.self).min()
        _ = try loop.wait(until: next)
        try server.serve(loop, handle: handle)
        client?.receive()
    }

    /// One turn; whether `descriptor` is readable at its end.
    func watch(_ descriptor: CInt) throws -> Bool {
        var loop = EventLoop()
        loop.watch(descriptor, for: .reading)
        _ = try loop.wait(until: server.prepare(&loop))
        try server.serve(loop, handle: handle)
        return loop.isReady(0)
    }

    /// The next response to `client`; `nil` when the connection ends without one.
    func reply(to client: Client, hasBody: Bool = true) throws -> Reply? {
        while true {
            if let reply = client.takeReply(hasBody: hasBody) { return reply }
            if client.isClosed { return nil }
            try turn(for: client)
        }
    }

    func reply(to client: Client, sending text: String) throws -> Reply? {
        client.send(text)
        return try reply(to: client)
    }

    /// Serves until `client` has been closed.
    func waitForClose(of client: Client) throws {
        while !client.isClosed { try turn(for: client) }
    }

    func serve(while condition: (borrowing Server) -> Bool) throws {
        while condition(server) { try turn() }
    }
}

/// The other end of a connection.
final class Client {
    let socket: Socket
    private(set) var received: [UInt8] = []
    private(set) var isClosed = false
    private var room: [UInt8] = Array(repeating: 0, count: 1 << 16)

    init(_ socket: consuming Socket) {
        self.socket = socket
    }

    func send(_ text: String) {
        let bytes = Array(text.utf8)
        guard !bytes.isEmpty else { return }
        #expect(socket.send(bytes.span) == .moved(bytes.count))
    }

    /// Sets how much the kernel takes for a client that does not read, with `SO_RCVBUF`.
    func limitRoom(to bytes: CInt) throws {
        var bytes = bytes
        try retrying("setsockopt") { setsockopt(socket.rawValue, SOL_SOCKET, SO_RCVBUF, &bytes, 4) }
    }

    /// Takes all that has arrived.
    func receive() {
        while !isClosed {
            var span = room.mutableSpan
            switch socket.receive(into: &span) {
            case .moved(let count): received += room[..<count]
            case .wouldBlock: return
            case .closed, .lost: isClosed = true
            }
        }
    }

    /// Waits for bytes, and receives them; `false` when none arrive before `deadline`.
    func receives(until deadline: BootTime) throws -> Bool {
        var loop = EventLoop()
        loop.watch(socket.rawValue, for: .reading)
        _ = try loop.wait(until: deadline)
        let before = received.count
        receive()
        return received.count > before
    }

    /// Takes the first whole response off what was received.
    func takeReply(hasBody: Bool) -> Reply? {
        guard let reply = Reply(received, hasBody: hasBody) else { return nil }
        received.removeFirst(reply.length)
        return reply
    }
}

/// A response as a client sees it.
struct Reply {
    let status: Int
    let head: String
    let body: [UInt8]
    let length: Int

    var text: String { String(decoding: body, as: UTF8.self) }
    var closes: Bool { head.contains("\r\nConnection: close\r\n") }

    /// `nil` when `bytes` do not hold all of it.
    init?(_ bytes: [UInt8], hasBody: Bool) {
        guard
            let end = (0..<bytes.count).first(where: { bytes[$0...].starts(with: "\r\n\r\n".utf8) })
        else { return nil }
        head = String(decoding: bytes[..<(end + 4)], as: UTF8.self)
        let field = head.split(separator: "\r\n").first { $0.hasPrefix("Content-Length: ") }
        let count = hasBody ? field.flatMap { Int($0.dropFirst(16)) } ?? 0 : 0
        guard bytes.count >= end + 4 + count else { return nil }
        status = Int(head.split(separator: " ")[1]) ?? 0
        body = Array(bytes[(end + 4)..<(end + 4 + count)])
        length = end + 4 + count
    }
}

/// A request that a client sends.
func get(_ path: String = "/", _ fields: String = "") -> String {
    "GET \(path) HTTP/1.1\r\nHost: a\r\n\(fields)\r\n"
}

/// A deadline so near that a test can wait for it.
func soon(_ milliseconds: Int = 30) -> BootTime {
    .now().advanced(by: .milliseconds(milliseconds))
}
