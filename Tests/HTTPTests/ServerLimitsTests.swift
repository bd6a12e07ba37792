import Glibc
import Posix
import Testing

@testable import HTTP

@Suite("Server limits", .timeLimit(.minutes(5)))
struct ServerLimitsTests {
    @Test("a client that does not read delays nobody, and gets all when it does")
    func slowReader() throws {
        let body = (0..<8_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) }
        let served = try Served {
            $0.path == "/big" ? Response(body: body) : .text(.ok, $0.path)
        }
        let slow = try served.connect(sending: get("/big") + get("/after"))
        try served.serve { $0.counters.responses[.ok] == 0 }
        #expect(served.server.busyConnections == 1)
        let quick = try served.connect(sending: get("/quick"))
        #expect(try served.reply(to: quick)?.text == "/quick\n")

        #expect(try served.reply(to: slow)?.body == body)
        #expect(try served.reply(to: slow)?.text == "/after\n")
    }

    @Test("a request that takes too long gets 408")
    func lateRequest() throws {
        let served = try Served(limits: Self.limits { $0.request = .milliseconds(20) })
        let client = try served.connect(sending: "GET / HTTP/1.1\r\n")
        let reply = try #require(try served.reply(to: client))
        #expect(reply.status == 408)
        #expect(reply.closes)
        #expect(served.server.counters.rejections[.requestTimeout] == 1)
    }

    @Test(
        "a connection is closed without a word",
        arguments: [("", 20, 60_000), (get(), 60_000, 20)]
    )
    func quiet(text: String, request: Int, idle: Int) throws {
        let served = try Served(
            limits: Self.limits {
                $0.request = .milliseconds(request)
                $0.idle = .milliseconds(idle)
            }
        )
        let client = try served.connect(sending: text)
        if !text.isEmpty { #expect(try served.reply(to: client)?.status == 200) }
        try served.waitForClose(of: client)
        #expect(client.received.isEmpty)
        try served.serve { $0.openConnections > 0 }
    }

    @Test("a response that is not taken ends the connection")
    func lateResponse() throws {
        let served = try Served(limits: Self.limits { $0.response = .milliseconds(20) }) { _ in
            Response(body: Array(repeating: 7, count: 16_000_000))
        }
        let client = try served.connect(sending: get())
        try served.serve { $0.openConnections > 0 }
        client.receive()
        #expect(client.isClosed)
    }

    @Test("a client that does not close after the last response is not waited for")
    func lateClose() throws {
        let served = try Served(limits: Self.limits { $0.drain = .milliseconds(20) })
        let client = try served.connect(sending: get("/", "Connection: close\r\n"))
        #expect(try served.reply(to: client)?.status == 200)
        try served.serve { $0.openConnections > 0 }
    }

    @Test("want of descriptors pauses the accepting, and does not spin")
    func descriptors() async {
        await #expect(processExitsWith: .success) {
            let served = try Served()
            let client = try Client(Socket(connectedTo: served.server.addresses[0]))
            client.send(get())
            var limit = rlimit()
            getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
            var none = rlimit(rlim_cur: 3, rlim_max: limit.rlim_max)
            setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &none)
            let deadline = soon(100)
            var turns = 0
            while BootTime.now() < deadline {
                try served.turn(until: deadline)
                turns += 1
            }
            setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
            #expect(served.server.counters.accepted == 0)
            #expect(turns < 5)
            #expect(try served.reply(to: client)?.status == 200)
        }
    }

    @Test("a connection that gets the last descriptor is served")
    func lastDescriptor() async {
        await #expect(processExitsWith: .success) {
            // Dispatch opens a descriptor of its own for its first timer, which would be the last one here.
            try await Task.sleep(for: .milliseconds(1))
            let served = try Served()
            let client = try Client(Socket(connectedTo: served.server.addresses[0]))
            client.send(get())
            let next = dup(STDIN_FILENO)
            close(next)
            var limit = rlimit()
            getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
            limit.rlim_cur = rlim_t(next) + 1
            setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
            #expect(try served.reply(to: client)?.status == 200)
            #expect(served.server.counters.evicted == 0)
        }
    }

    private static func limits(_ change: (inout Limits) -> Void) -> Limits {
        var limits = Limits()
        change(&limits)
        return limits
    }
}
