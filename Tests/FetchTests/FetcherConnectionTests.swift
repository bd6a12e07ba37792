import Foundation
import Glibc
import Posix
import TestSupport
import Testing

@testable import Fetch

@Suite("connections of the fetcher", .timeLimit(.minutes(5)))
struct FetcherConnectionTests {
    private let stop: StopSignal
    private let patient = FetchLimits(bytes: 1000, timeout: .seconds(600))

    init() throws {
        stop = try StopSignal()
    }

    @Test("a stop breaks off an attempt to connect")
    func stoppedConnecting() async throws {
        let silence = try SilentListener()
        let (stop, patient) = (stop, patient)
        // No task, which would wait for its turn behind other tests.
        Thread.detachNewThread {
            let latest = BootTime.now().advanced(by: .seconds(30))
            while !silence.isKnockedAt, BootTime.now() < latest { sched_yield() }
            stop.request()
        }
        #expect(await get(silence.url, patient, until: stop) == .failure(.cancelled))
    }

    @Test(
        "a stop breaks off an answer on its way",
        arguments: ["", "HTTP/1.1 200 O", "HTTP/1.1 200 OK\r\nX: y", "HTTP/1.1 200 OK\r\n\r\nx"]
    )
    func stoppedReceiving(_ part: String) async throws {
        let stop = stop
        let server = try ScriptedServer { _, _ in
            .init(holds: true, raw: Array(part.utf8), whenSent: { stop.request() })
        }
        #expect(await get(server.url("/a"), patient, until: stop) == .failure(.cancelled))
    }

    @Test("a request that was to be stopped before it began is not waited for")
    func stoppedBefore() async throws {
        stop.request()
        let server = try ScriptedServer { _, _ in .init(holds: true, raw: []) }
        #expect(await get(server.url("/a"), patient, until: stop) == .failure(.cancelled))
    }

    @Test("one connection serves many requests, and a lost one is replaced")
    func kept() async throws {
        let server = try ScriptedServer { path, _ in
            var reply = path == "/missing" ? ScriptedServer.Reply.status(404) : .text(path)
            reply.keepsOpen = path != "/last"
            return reply
        }
        let stop = stop
        let bodies = await onThread {
            let fetcher = Fetcher(userAgent: "test")
            return ["/a", "/missing", "/b", "/last", "/c"].map {
                fetched(fetcher, server.url($0), standard, stop)
            }.map { try? $0.get().bytes.count }
        }
        #expect(bodies == [2, nil, 2, 5, 2])
        #expect(server.connections == 2)
    }

    @Test("requests say who asks, and carry the headers that were given, a redirected one as well")
    func headers() async throws {
        let server = try ScriptedServer { path, _ in path == "/a" ? .redirect("/b") : .text("") }
        let stop = stop
        let given = ["Authorization": "Bearer t\r\n", "X-Empty": ""]
        _ = await onThread {
            fetched(Fetcher(headers: given, userAgent: "test"), server.url("/a"), standard, stop)
        }
        #expect(server.requestHeads.count == 2)
        for head in server.requestHeads {
            let lines = Set(head.split(separator: "\r\n").dropFirst().map(String.init))
            #expect(
                lines.isSuperset(of: [
                    "User-Agent: test",
                    "Accept-Encoding: identity",
                    "Authorization: Bearer t", "X-Empty:",
                ])
            )
        }
    }

    @Test("given headers go instead of the fetcher's own")
    func ownHeaders() async throws {
        let server = try ScriptedServer { _, _ in .text("") }
        let stop = stop
        let given = ["user-agent": "camera", "accept-encoding": "br"]
        _ = await onThread {
            fetched(Fetcher(headers: given, userAgent: "test"), server.url("/a"), standard, stop)
        }
        let head = try #require(server.requestHeads.first).lowercased()
        #expect(head.contains("user-agent: camera\r\n") && head.contains("accept-encoding: br\r\n"))
        #expect(!head.contains("streamvault") && !head.contains("identity"))
    }

    /// The output of `printf 'text of the playlist' | gzip -n`.
    private static let gzipped: [UInt8] = [
        0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0x2b, 0x49, 0xad, 0x28, 0x51, 0xc8, 0x4f, 0x53, 0x28,
        0xc9, 0x48, 0x55, 0x28,
        0xc8, 0x49, 0xac, 0xcc, 0xc9, 0x2c, 0x2e, 1, 0, 0xde, 0xd3, 0x55, 0x1e, 0x14, 0, 0, 0,
    ]

    @Test("a body that is compressed without having been asked for is expanded")
    func compressed() async throws {
        let server = try ScriptedServer { _, _ in
            .init(headers: ["Content-Encoding": "gzip"], body: Self.gzipped)
        }
        let result = await get(server.url("/a"), until: stop)
        #expect(try result.get().bytes == Array("text of the playlist".utf8))
        #expect(server.requestHeads.first?.contains("Accept-Encoding: identity\r\n") == true)
    }

    @Test(
        "a body that is not compressed as its head says is fetched as it is",
        arguments: ["gzip", "deflate", "br", "utf-8", "x-unknown"]
    )
    func wrongEncoding(encoding: String) async throws {
        let packet = [0x47, 0x40, 0, 0x10] + (4..<188).map { UInt8($0) }
        let media = (0..<4).flatMap { _ in packet }
        let server = try ScriptedServer { _, _ in
            .init(headers: ["Content-Encoding": encoding], body: media)
        }
        let result = await get(server.url("/a"), until: stop)
        #expect(try result.get().bytes == media)
    }

    /// The output of gzip for the bytes 0 to 15: longer than they are.
    private static let gzippedKey: [UInt8] = [
        31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 99, 96, 100, 98, 102, 97, 101, 99, 231, 224, 228, 226, 230,
        225, 229, 227, 7, 0, 136, 226, 206, 206, 16, 0, 0, 0,
    ]

    @Test("a body that compression has made longer is expanded")
    func compressedKey() async throws {
        let server = try ScriptedServer { _, _ in
            .init(headers: ["Content-Encoding": "gzip"], body: Self.gzippedKey)
        }
        #expect(try await get(server.url("/a"), until: stop).get().bytes == Array(0..<16))
    }

    @Test("a range of a complete resource is requested once")
    func rangeOfAll() async throws {
        let server = try ScriptedServer { _, _ in
            .init(body: (0..<100_000).map { UInt8(truncatingIfNeeded: $0) })
        }
        let (stop, range) = (stop, try #require(ByteRange(offset: 3, count: 4)))
        let body = await onThread {
            try? Fetcher(userAgent: "test")
                .get(server.url("/a"), range: range, limits: standard, until: stop).bytes
        }
        #expect(body == [3, 4, 5, 6])
        #expect(server.requestHeads.count == 1)
    }

    @Test("cookies are sent back, until there are too many")
    func cookies() async throws {
        let server = try ScriptedServer { path, before in
            let lines = (0..<40).map { "Set-Cookie: c\(before)n\($0)=v\r\n" }.joined()
            return .init(raw: Array("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\(lines)\r\n".utf8))
        }
        let stop = stop
        await onThread {
            let fetcher = Fetcher(userAgent: "test")
            for _ in 0..<7 { _ = fetched(fetcher, server.url("/a"), standard, stop) }
        }
        let counts = server.requestHeads.map { $0.split(separator: "=v").count - 1 }
        #expect(counts == [0, 40, 80, 120, 0, 40, 80])
    }

    @Test("a server whose certificate nobody vouches for is refused")
    func selfSigned() async throws {
        let server = try SelfSignedServer()
        guard case .failure(.network(let text)) = await get(server.url, until: stop) else {
            Issue.record("the fetch has not failed")
            return
        }
        #expect(text.contains("certificate") && !text.contains("secret"))
    }
}

/// A listening socket whose queue is full: it answers no attempt to connect.
private final class SilentListener: Sendable {
    private let listener: FileDescriptor
    private let filler: FileDescriptor
    private let port: UInt16

    init() throws {
        listener = FileDescriptor(adopting: socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0))
        filler = FileDescriptor(adopting: socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0))
        port = try listen(on: listener, backlog: 0)
        try onLoopback(port) { address, length throws(SystemError) in
            try retrying("connect") { connect(filler.rawValue, address, length) }
        }
    }

    var url: URL { URL(string: "http://127.0.0.1:\(port)/a") ?? URL(filePath: "/") }

    /// Whether an attempt to connect is under way: state 2 is `SYN_SENT`.
    var isKnockedAt: Bool {
        let bytes = try? FileDescriptor(opening: "/proc/self/net/tcp", O_RDONLY)
            .readAll(atMost: 1 << 24)
        let table = String(decoding: bytes ?? [], as: UTF8.self)
        let port = String(port, radix: 16, uppercase: true)
        let padded = String(repeating: "0", count: 4 - port.count) + port
        return table.contains(" 0100007F:\(padded) 02 ")
    }
}

/// A server of `https` whose certificate it has signed itself.
private final class SelfSignedServer {
    private var server: Subprocess
    private let directory: URL
    let url: URL

    private static let program = """
        import socket, ssl, sys
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[1] + "/cert", sys.argv[1] + "/key")
        listener = socket.create_server(("127.0.0.1", 0))
        print(listener.getsockname()[1], flush=True)
        while True:
            try:
                with context.wrap_socket(listener.accept()[0], server_side=True) as client:
                    client.recv(4096)
                    client.sendall(b"HTTP/1.0 200 OK\\r\\n\\r\\nmedia")
            except OSError:
                pass
        """

    init() throws {
        let manager = FileManager.default
        directory = manager.temporaryDirectory.appending(path: "tls-\(UUID())")
        try manager.createDirectory(at: directory, withIntermediateDirectories: true)
        let names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
        let files = ["-keyout", directory.path + "/key", "-out", directory.path + "/cert"]
        let kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        var maker = try Subprocess.spawn(["openssl", "req"] + kind + names + files)
        #expect(maker.wait() == .code(0))
        server = try Subprocess.spawn(["python3", "-c", Self.program, directory.path])
        url = try #require(
            URL(string: "https://127.0.0.1:\(try Self.firstLine(server.output))/a?token=secret")
        )
    }

    deinit { try? FileManager.default.removeItem(at: directory) }

    private static func firstLine(_ output: borrowing FileDescriptor) throws -> String {
        var line: [UInt8] = []
        var byte: [UInt8] = [0]
        while try byte.withUnsafeMutableBytes({ try output.read(into: $0) }) == 1, byte != [0x0A] {
            line += byte
        }
        return String(decoding: line, as: UTF8.self)
    }
}
