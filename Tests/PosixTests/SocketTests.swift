import Glibc
import Posix
import Testing

@Suite("Sockets", .timeLimit(.minutes(1)))
struct SocketTests {
    @Test(
        "listen where they are told, and name the port they got",
        arguments: [":0", "127.0.0.1:0", "[::1]:0"]
    )
    func boundPort(text: String) throws {
        let listener = try ListeningSocket(on: ListenAddress(text))
        #expect(!listener.address.description.hasSuffix(":0"))
        let client = try Socket(connectedTo: listener.address)
        let server = try accepted(by: listener)
        #expect(server.peer == client.peer)
        try expectExchange(client, server)
    }

    @Test("listen on IPv6 and IPv4 at once")
    func dualStack() throws {
        let listener = try ListeningSocket(on: ListenAddress(":0"))
        guard case .everywhere(let port) = listener.address else { return }
        for text in ["[::1]:\(port)", "127.0.0.1:\(port)"] {
            let client = try Socket(connectedTo: ListenAddress(text))
            let server = try accepted(by: listener)
            #expect(server.peer == client.peer)
        }
    }

    @Test("say that an address is taken")
    func taken() throws {
        let listener = try ListeningSocket(on: ListenAddress("127.0.0.1:0"))
        let address = listener.address
        #expect(throws: SystemError(call: "bind", code: EADDRINUSE)) {
            _ = try ListeningSocket(on: address)
        }
    }

    @Test("have nothing to accept, or to receive, before somebody comes")
    func nothingYet() throws {
        let listener = try ListeningSocket(on: ListenAddress("127.0.0.1:0"))
        if try listener.accept() != nil { Issue.record("somebody came") }
        let client = try Socket(connectedTo: listener.address)
        #expect(client.receive() == .wouldBlock)
    }

    @Test("end in `lost`, never in a SIGPIPE")
    func lost() throws {
        let listener = try ListeningSocket(on: ListenAddress("127.0.0.1:0"))
        let client = try Socket(connectedTo: listener.address)
        do {
            let server = try accepted(by: listener)
            _ = client.send([1, 2, 3].span)
            try wait(for: server, .reading)
        }  // Closed with unread bytes: the client gets a reset.
        try wait(for: client, .reading)
        #expect(client.receive() == .lost)
        #expect(client.send([1].span) == .lost)
    }

    @Test("count the bytes that the peer's kernel has not acknowledged")
    func unacknowledged() throws {
        let listener = try ListeningSocket(on: ListenAddress("127.0.0.1:0"))
        let client = try Socket(connectedTo: listener.address)
        let server = try accepted(by: listener)
        let block: [UInt8] = Array(repeating: 7, count: 1 << 16)
        while case .moved = server.send(block.span) {}  // Until both kernels are full.
        #expect(try server.unacknowledgedBytes() > 0)
        repeat {
            while case .moved = client.receive(1 << 16) {}
        } while try server.unacknowledgedBytes() > 0
    }

    private func expectExchange(_ client: borrowing Socket, _ server: borrowing Socket) throws {
        #expect(client.send([1, 2].span, [3].span) == .moved(3))
        try wait(for: server, .reading)
        #expect(server.receive() == .moved(3))
        server.finishSending()
        try wait(for: client, .reading)
        #expect(client.receive() == .closed)
    }
}

@Suite("Local sockets", .timeLimit(.minutes(1)))
struct LocalSocketTests {
    private let path = "/tmp/posix-tests-\(getpid())-\(UInt32.random(in: .min ... .max)).sock"

    @Test("serve, and name their peers unix")
    func serve() throws {
        defer { unlink(path) }
        let listener = try ListeningSocket(on: .unix(path: path))
        let client = try Socket(connectedTo: listener.address)
        let server = try accepted(by: listener)
        #expect(server.peer == "unix")
        #expect(client.send([1].span) == .moved(1))
        #expect(server.receive() == .moved(1))
    }

    @Test("take over the path of a dead server, not that of a live one")
    func stale() throws {
        defer { unlink(path) }
        do { _ = try ListeningSocket(on: .unix(path: path)) }
        let listener = try ListeningSocket(on: .unix(path: path))
        #expect(throws: SystemError(call: "bind", code: EADDRINUSE)) {
            _ = try ListeningSocket(on: .unix(path: path))
        }
        _ = try Socket(connectedTo: listener.address)
    }

    @Test("leave a file that is no socket alone")
    func regularFile() throws {
        defer { unlink(path) }
        do { _ = try FileDescriptor(opening: path, O_CREAT | O_WRONLY) }
        #expect(throws: SystemError(call: "bind", code: EADDRINUSE)) {
            _ = try ListeningSocket(on: .unix(path: path))
        }
        #expect(access(path, F_OK) == 0)
    }
}

extension Socket {
    fileprivate borrowing func receive(_ capacity: Int = 16) -> Transfer {
        var bytes: [UInt8] = Array(repeating: 0, count: capacity)
        var span = bytes.mutableSpan
        return receive(into: &span)
    }
}

private func wait(for socket: borrowing Socket, _ interest: PollSet.Interest) throws {
    var set = PollSet()
    set.append(socket.rawValue, for: interest)
    while try set.wait(until: nil) == 0 {}
}

private func accepted(by listener: borrowing ListeningSocket) throws -> Socket {
    var set = PollSet()
    set.append(listener.rawValue, for: .reading)
    while true {
        _ = try set.wait(until: nil)
        if let socket = try listener.accept() { return socket }
    }
}
