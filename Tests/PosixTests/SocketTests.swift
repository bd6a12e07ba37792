import Glibc
import Posix
import Testing

@Suite("Sockets", .timeLimit(.minutes(5)))
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
        guard case .anyAddress(let port) = listener.address else { return }
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
        #expect(throws: SystemError(call: "bind \(address)", code: EADDRINUSE)) {
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

@Suite("Local sockets", .timeLimit(.minutes(5)))
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

    @Test("take over the path of a killed server, not that of a live one")
    func stale() throws {
        defer { unlink(path) }
        try leaveSocket()
        let listener = try ListeningSocket(on: .unix(path: path))
        #expect(throws: inUse) { _ = try ListeningSocket(on: .unix(path: path)) }
        _ = try Socket(connectedTo: listener.address)
    }

    @Test("are not taken over while one is busy, even with a full queue")
    func fullQueue() throws {
        defer { unlink(path) }
        let busy = try listeningWithoutRoom()
        // Fills the queue: a blocking connect would now wait.
        let first = try Socket(connectedTo: .unix(path: path))
        #expect(throws: inUse) { _ = try ListeningSocket(on: .unix(path: path)) }
        withExtendedLifetime(first.rawValue) {}
        withExtendedLifetime(busy.rawValue) {}
    }

    @Test("remove their path when they end, but not the one of a successor")
    func removal() throws {
        defer { unlink(path) }
        do { _ = try ListeningSocket(on: .unix(path: path)) }
        #expect(access(path, F_OK) == -1)
        do {
            let first = try ListeningSocket(on: .unix(path: path))
            unlink(path)
            try leaveSocket()
            withExtendedLifetime(first.rawValue) {}
        }
        #expect(access(path, F_OK) == 0)
    }

    @Test("are for the owner and the group, whatever the mask")
    func mode() throws {
        defer { unlink(path) }
        let listener = try ListeningSocket(on: .unix(path: path))
        #expect(try FileSystem.status(of: path).st_mode & 0o7777 == 0o660)
        withExtendedLifetime(listener.rawValue) {}
    }

    @Test("leave a file that is no socket alone")
    func regularFile() throws {
        defer { unlink(path) }
        do { _ = try FileDescriptor(opening: path, O_CREAT | O_WRONLY) }
        #expect(throws: SystemError(call: "bind unix:\(path)", code: EEXIST)) {
            _ = try ListeningSocket(on: .unix(path: path))
        }
        #expect(access(path, F_OK) == 0)
    }

    @Test("name the path that cannot be")
    func missingDirectory() throws {
        let path = "/tmp/nowhere-\(getpid())/a.sock"
        #expect(throws: SystemError(call: "bind unix:\(path)", code: ENOENT)) {
            _ = try ListeningSocket(on: .unix(path: path))
        }
    }

    private var inUse: SystemError { SystemError(call: "bind unix:\(path)", code: EADDRINUSE) }

    /// What a server leaves behind that is killed.
    private func leaveSocket() throws {
        _ = try boundSocket()
    }

    /// A server whose queue holds one connection that it never takes.
    private func listeningWithoutRoom() throws -> FileDescriptor {
        let descriptor = try boundSocket()
        try retrying("listen") { listen(descriptor.rawValue, 0) }
        return descriptor
    }

    private func boundSocket() throws -> FileDescriptor {
        let type = CInt(SOCK_STREAM.rawValue)
        let descriptor = FileDescriptor(
            adopting: try retrying("socket") { socket(AF_UNIX, type, 0) }
        )
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let size = socklen_t(MemoryLayout<sockaddr_un>.size)
        try retrying("bind") {
            withUnsafePointer(to: address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(descriptor.rawValue, $0, size)
                }
            }
        }
        return descriptor
    }
}

@Suite("Connecting", .timeLimit(.minutes(5)))
struct ConnectingTests {
    @Test("says why it failed")
    func refused() throws {
        var address: ListenAddress?
        do { address = try ListeningSocket(on: ListenAddress("127.0.0.1:0")).address }
        let gone = try #require(address)
        #expect(throws: SystemError(call: "connect \(gone)", code: ECONNREFUSED)) {
            _ = try Socket(connectedTo: gone)
        }
    }

    @Test("waits for a server until its deadline at most")
    func deadline() throws {
        let listener = try ListeningSocket(on: ListenAddress("127.0.0.1:0"))
        // With its queue full the kernel lets newcomers wait.
        try retrying("listen") { listen(listener.rawValue, 0) }
        let error = #expect(throws: SystemError.self) {
            var waiting: [Holder] = []
            while waiting.count < 8 {
                let soon = BootTime.now().advanced(by: .milliseconds(200))
                waiting.append(Holder(try Socket(connectedTo: listener.address, until: soon)))
            }
        }
        #expect(error == SystemError(call: "connect \(listener.address)", code: ETIMEDOUT))
    }

    private final class Holder {
        let socket: Socket
        init(_ socket: consuming Socket) { self.socket = socket }
    }
}

extension Socket {
    fileprivate borrowing func receive(_ capacity: Int = 16) -> Transfer {
        var bytes: [UInt8] = Array(repeating: 0, count: capacity)
        var span = bytes.mutableSpan
        return receive(into: &span)
    }
}

private func wait(for socket: borrowing Socket, _ interest: EventLoop.Interest) throws {
    var loop = EventLoop()
    loop.watch(socket.rawValue, for: interest)
    while try loop.wait(until: nil) == 0 {}
}

private func accepted(by listener: borrowing ListeningSocket) throws -> Socket {
    var loop = EventLoop()
    loop.watch(listener.rawValue, for: .reading)
    while true {
        _ = try loop.wait(until: nil)
        if let socket = try listener.accept() { return socket }
    }
}
