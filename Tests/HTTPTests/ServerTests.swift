import Glibc
import Posix
import Testing

@testable import HTTP

@Suite("Server", .timeLimit(.minutes(5)))
struct ServerTests {
    @Test("answers several requests on one connection")
    func keepAlive() throws {
        let served = try Served()
        let client = try served.connect()
        for path in ["/1", "/2", "/3"] {
            let reply = try #require(try served.reply(to: client, sending: get(path)))
            #expect(reply.text == "get \(path)\n")
            #expect(!reply.closes)
        }
        #expect(served.server.openConnections == 1)
        #expect(served.server.busyConnections == 0)
        #expect(served.server.counters.responses[.ok] == 3)
    }

    @Test("answers pipelined requests in their order, however many arrive at once")
    func pipelining() throws {
        let served = try Served()
        let paths = (0..<100).map { "/\($0)" }
        let client = try served.connect(sending: paths.map { get($0) }.joined())
        for path in paths {
            #expect(try served.reply(to: client)?.text == "get \(path)\n")
        }
    }

    @Test("answers a request that arrives byte by byte")
    func trickle() throws {
        let served = try Served()
        let client = try served.connect()
        for character in get("/slow").unicodeScalars {
            client.send(String(character))
            try served.turn(for: client)
        }
        #expect(try served.reply(to: client)?.text == "get /slow\n")
    }

    @Test("sends the head of GET to HEAD, and no body")
    func head() throws {
        let served = try Served()
        let client = try served.connect(sending: "HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n")
        let reply = try #require(try served.reply(to: client, hasBody: false))
        #expect(reply.head.contains("Content-Length: 8\r\n"))
        #expect(try served.reply(to: client, sending: get("/b"))?.text == "get /b\n")
    }

    @Test(
        "sends no body to a HEAD that is refused, and its length all the same",
        arguments: [
            "HEAD / HTTP/1.1\r\n\r\n", "HEAD / HTTP/1.1\r\nHost: a b\r\n\r\n",
            "\r\nHEAD / HTTP/1.1\r\n\r\n",
            "HEAD / HTTP/2.0\r\n\r\n", "HEAD / HTTP/1.1\nHost: a\n\n",
            get("/") + "HEAD /x HTTP/1.1\r\n\r\n",
            "HEAD / HTTP/1.1\r\nX: " + String(repeating: "x", count: 9000),
            "HEAD / HTTP/1.1\r\nHost: b\r\nOrigin: b\r\n\r\n",
            "HEAD / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx",
        ]
    )
    func refusedHead(text: String) throws {
        let served = try Served()
        served.server.hosts = HostPolicy(allowed: ["a"])
        let client = try served.connect(sending: text)
        if text.hasPrefix("GET") { #expect(try served.reply(to: client)?.status == 200) }
        let reply = try #require(try served.reply(to: client, hasBody: false))
        #expect(reply.status >= 400)
        #expect(
            reply.head.contains("\r\nContent-Length: ") && !reply.head.contains("Length: 0\r\n")
        )
        try served.waitForClose(of: client)
        #expect(client.received.isEmpty)
    }

    @Test(
        "says in every response when it was sent",
        arguments: [
            get("/"), "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.0\r\n\r\n", "\0",
            "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\n\r\n",
        ]
    )
    func date(text: String) throws {
        let served = try Served()
        let client = try served.connect(sending: text)
        let reply = try #require(try served.reply(to: client, hasBody: false))
        let lines = reply.head.split(separator: "\r\n").filter { $0.hasPrefix("Date: ") }
        #expect(lines.count == 1 && lines[0].hasSuffix(" GMT") && lines[0].count == 35)
    }

    @Test("listens on both families, unless each is named")
    func families() throws {
        let both = try Server(on: [try ListenAddress("[::]:0")])
        guard case .internet(_, let port) = both.addresses[0] else {
            Issue.record("another address")
            return
        }
        _ = try Socket(connectedTo: try ListenAddress("127.0.0.1:\(port)"))
        _ = try Socket(connectedTo: try ListenAddress("[::1]:\(port)"))
        let free = both.addresses[0].description
        #expect(free == "[::]:\(port)")
    }

    @Test(
        "closes when the client wants it, and says so",
        arguments: [
            ("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "\r\nConnection: close"),
            ("GET / HTTP/1.0\r\n\r\n", "\r\nConnection: close"),
        ]
    )
    func close(text: String, field: String) throws {
        let served = try Served()
        let client = try served.connect(sending: text)
        #expect(try served.reply(to: client)?.head.contains(field) == true)
        try served.waitForClose(of: client)
    }

    @Test("keeps an HTTP/1.0 connection for a client that asks for it")
    func oldKeepAlive() throws {
        let served = try Served()
        let text = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
        let client = try served.connect(sending: text)
        #expect(try served.reply(to: client)?.head.contains("Connection: keep-alive\r\n") == true)
        #expect(try served.reply(to: client, sending: text)?.status == 200)
    }

    @Test("answers a client that has closed its own side")
    func halfClosed() throws {
        let served = try Served()
        let client = try served.connect(sending: get("/1") + get("/2"))
        client.socket.finishSending()
        #expect(try served.reply(to: client)?.text == "get /1\n")
        #expect(try served.reply(to: client)?.text == "get /2\n")
        try served.waitForClose(of: client)
    }

    @Test("refuses a bad request, and lets nothing after it count")
    func refuses() throws {
        let served = try Served()
        let text = get("/", "Content-Length: 5\r\nContent-Length: 6\r\n") + get("/smuggled")
        let client = try served.connect(sending: text)
        let reply = try #require(try served.reply(to: client))
        #expect(reply.status == 400)
        #expect(reply.closes)
        #expect(try served.reply(to: client) == nil)
        #expect(served.server.counters.rejections[.badRequest] == 1)
        #expect(served.server.counters.responses.sorted.isEmpty)
    }

    @Test("closes all connections from now on, once it is closing")
    func closing() throws {
        let served = try Served()
        let client = try served.connect()
        #expect(try served.reply(to: client, sending: get())?.closes == false)
        served.server.closing = true
        #expect(try served.reply(to: client, sending: get())?.closes == true)
        try served.waitForClose(of: client)
    }

    @Test("hands over a connection that changes its protocol, with what has arrived of that")
    func upgrade() throws {
        let served = try Served { _ in
            let fields = [("Connection", "Upgrade"), ("Upgrade", "echo")]
            var response = Response(.switchingProtocols, headers: fields)
            response.tag = 3
            return response
        }
        let client = try served.connect(
            sending: get("/", "Connection: Upgrade\r\nUpgrade: echo\r\n") + "early"
        )
        #expect(try served.reply(to: client)?.status == 101)
        guard let upgraded = try served.server.nextUpgraded() else {
            Issue.record("nothing was handed over")
            return
        }
        #expect(upgraded.received == Array("early".utf8))
        #expect(upgraded.tag == 3)
        #expect(served.server.openConnections == 0)
        #expect(upgraded.socket.send("late".utf8.span) == .moved(4))
        client.receive()
        #expect(client.received == Array("late".utf8))
    }

    @Test("serves a local socket")
    func local() throws {
        let path = "/tmp/http-tests-\(getpid())-\(UInt32.random(in: .min ... .max)).sock"
        defer { unlink(path) }
        let served = try Served(on: .unix(path: path)) { .text(.ok, $0.peer) }
        let client = try served.connect(sending: get())
        #expect(try served.reply(to: client)?.text == "unix\n")
    }

    @Test("does not wake up for a connection that is idle")
    func idle() throws {
        let served = try Served()
        let client = try served.connect()
        #expect(try served.reply(to: client, sending: get())?.status == 200)
        let deadline = soon()
        try served.turn(until: deadline)
        #expect(BootTime.now() >= deadline)
    }
}
