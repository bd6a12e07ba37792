import Foundation
import Glibc
import Posix
import TelemetryStage
import Testing

@testable import Ingest
@testable import StreamVaultTelemetry

/// An ingest server whose loop is the test.
private final class ServedIngest {
    let files: TelemetryDirectory
    let path: String
    var server: IngestServer

    /// Without time, a turn reads one line.
    init(turnTime: Duration = .seconds(60), socketFolder: String? = nil) throws {
        files = try TelemetryDirectory()
        path = "\(socketFolder ?? files.path)/s"
        let directory = try IngestDirectory(path: files.path, resumeGrace: .zero, now: .now())
        server = try IngestServer(path: path, directory, nil, turnTime: turnTime)
    }

    /// One turn, which does not wait.
    func turn() throws {
        var loop = EventLoop()
        _ = server.prepare(&loop)
        _ = try loop.wait(until: .now())
        try server.serve(loop)
    }

    func connect() throws -> Client { Client(try Socket(connectedTo: .unix(path: path))) }

    func verdict(_ name: String) throws -> Verdict {
        var reader = SegmentReader(path: files.file(name))
        return try reader.snapshot().verdict
    }

    var counters: IngestCounters { server.counters }
}

/// The other end of a connection.
private final class Client {
    private var socket: Socket?

    init(_ socket: consuming Socket) { self.socket = consume socket }

    /// How many of the bytes the kernel took.
    @discardableResult
    func send(_ text: String) -> Int {
        guard case .moved(let count) = socket?.send(Array(text.utf8).span) else { return 0 }
        return count
    }

    func receive() -> String {
        var room = [UInt8](repeating: 0, count: 1 << 16)
        var span = room.mutableSpan
        guard case .moved(let count) = socket?.receive(into: &span) else { return "" }
        return String(decoding: room[..<count], as: UTF8.self)
    }

    func finishSending() { socket?.finishSending() }

    func hangUp() { socket = nil }
}

private func hello(_ name: String) -> String {
    #"{"type":"hello","name":"\#(name)","ack":true}"# + "\n"
}

@Suite("The ingest socket")
struct IngestServerTests {
    @Test("lines in pieces, many in one, and with carriage returns")
    func pieces() throws {
        let ingest = try ServedIngest()
        let client = try ingest.connect()
        try ingest.turn()
        for byte in hello("a") {
            client.send(String(byte))
            try ingest.turn()
        }
        #expect(client.receive() == "{\"line\":1,\"ok\":true,\"resumed\":false}\n")
        client.send(
            "{\"type\":\"heartbeat\",\"ack\":true}\r\n\r\n\n{\"type\":\"heartbeat\",\"ack\":true}\nx\n"
        )
        try ingest.turn()
        #expect(
            client.receive() == """
                {"line":2,"ok":true}
                {"line":5,"ok":true}
                {"line":6,"reason":"json","error":"not JSON: expected a value at byte 1"}

                """
        )
        #expect(ingest.counters.lines == 6)
        #expect(ingest.counters.refusedLines == [.json: 1])
    }

    @Test("the end of the connection is the end of the run; a last line needs no line feed")
    func hangUp() throws {
        let ingest = try ServedIngest()
        for (name, last, verdict) in [
            ("a", "", Verdict.ended(.crashed)), ("b", #"{"type":"goodbye"}"#, .ended(.clean)),
        ] {
            let client = try ingest.connect()
            client.send(hello(name))
            try ingest.turn()
            try ingest.turn()
            #expect(try ingest.verdict(name) == .alive)
            client.send(last)
            client.finishSending()
            try ingest.turn()
            #expect(try ingest.verdict(name) == verdict)
        }
        #expect(ingest.counters.openConnections == 0)
        #expect(ingest.server.nextDeadline == nil, "nothing to wake up for")
    }

    @Test(
        "a run's file, and the socket, are made again",
        arguments: ["cut", "removed", "directory"]
    )
    func surroundings(change: String) throws {
        let ingest = try ServedIngest()
        let client = try ingest.connect()
        client.send(hello("a"))
        client.send(#"{"type":"declare","metric":"counter","name":"t_total","help":"T."}"# + "\n")
        client.send(#"{"type":"add","name":"t_total","value":3}"# + "\n")
        try ingest.turn()
        try ingest.turn()
        let cause: PublisherEvent.Cause
        switch change {
        case "cut":
            cause = .truncated
            #expect(truncate(ingest.files.file("a"), 0) == 0)
        case "removed":
            cause = .removed
            unlink(ingest.files.file("a"))
        default:
            cause = .removed
            try FileManager.default.removeItem(atPath: ingest.files.path)
        }
        client.send(#"{"type":"add","name":"t_total","value":4}"# + "\n")
        try ingest.turn()
        var pause = EventLoop()
        while ingest.counters.republished[cause] == nil {
            _ = try pause.wait(until: ingest.server.nextDeadline)
            try ingest.turn()
        }
        #expect(try ingest.verdict("a") == .alive)
        client.send(#"{"type":"add","name":"t_total","value":5}"# + "\n")
        try ingest.turn()
        var reader = SegmentReader(path: ingest.files.file("a"))
        let snapshot = try reader.snapshot()
        let series = try #require(
            snapshot.contents.series.first {
                snapshot.contents.families[$0.family].name == "t_total"
            }
        )
        // What the last check before the cut had not seen is lost: at most one interval.
        let possible: [UInt64] = change == "cut" ? [5, 8, 9, 12] : [12]
        #expect(possible.contains(snapshot.words[series.word]))
        let other = try ingest.connect()
        other.send(hello("b"))
        try ingest.turn()
        try ingest.turn()
        #expect(try ingest.verdict("b") == .alive)
    }

    @Test("a name that is connected is refused, and the connection may try again")
    func nameTaken() throws {
        let ingest = try ServedIngest()
        let (first, second) = (try ingest.connect(), try ingest.connect())
        first.send(hello("a"))
        second.send(hello("a"))
        try ingest.turn()
        try ingest.turn()
        let answers = [first.receive(), second.receive()].sorted()
        #expect(answers[0].contains("\"ok\":true"))
        #expect(answers[1].contains("\"reason\":\"name\""))
        for client in [first, second] { client.send("{\"type\":\"goodbye\"}\n") }
        try ingest.turn()
        second.send(hello("a"))
        try ingest.turn()
        #expect(second.receive().contains("\"ok\":true") || second.receive().contains("order"))
    }

    @Test("who hung up is heard to the end before a newcomer, which may be its next run")
    func nextRun() throws {
        let ingest = try ServedIngest(turnTime: .zero)
        let old = try ingest.connect()
        try ingest.turn()
        old.send(hello("a") + String(repeating: "{\"type\":\"heartbeat\"}\n", count: 50))
        old.hangUp()
        let new = try ingest.connect()
        new.send(hello("a"))
        for _ in 0..<60 { try ingest.turn() }
        #expect(new.receive().contains("\"ok\":true"))
        #expect(ingest.counters.refusedLines.isEmpty)
    }

    @Test("one that floods has no more turns than another")
    func fairness() throws {
        let ingest = try ServedIngest(turnTime: .zero)
        let (flood, modest) = (try ingest.connect(), try ingest.connect())
        try ingest.turn()
        flood.send(hello("flood"))
        modest.send(hello("modest"))
        for _ in 0..<2 { try ingest.turn() }
        flood.send(String(repeating: "{\"type\":\"heartbeat\"}\n", count: 2_000))
        for _ in 0..<10 { try ingest.turn() }
        #expect(ingest.server.nextDeadline == BootTime(nanoseconds: 0), "work is left: no sleep")
        modest.send("{\"type\":\"heartbeat\",\"ack\":true}\n")
        for _ in 0..<2 { try ingest.turn() }
        #expect(modest.receive().hasSuffix("{\"line\":2,\"ok\":true}\n"))
        #expect(ingest.counters.lines <= 2 + 10 + 2, "one line a turn")
    }

    @Test("a client that does not read its replies loses them, and nothing else")
    func deafClient() throws {
        let ingest = try ServedIngest()
        let client = try ingest.connect()
        try ingest.turn()
        client.send(hello("a"))
        try ingest.turn()
        let mistakes = String(repeating: "nonsense\n", count: 1_000)
        for _ in 0..<100 {
            client.send(mistakes)
            try ingest.turn()
        }
        #expect(ingest.counters.droppedReplies > 0)
        #expect(ingest.counters.refusedLines[.json] == 100_000)
        #expect(try ingest.verdict("a") == .alive)
        while !client.receive().isEmpty {}
        client.send("{\"type\":\"heartbeat\",\"ack\":true}\n")
        try ingest.turn()
        #expect(client.receive() == "{\"line\":100002,\"ok\":true}\n")
    }

    @Test("so many connections; one that publishes nothing makes room")
    func maxConnections() throws {
        let ingest = try ServedIngest()
        let idle = try ingest.connect()
        try ingest.turn()
        var clients: [Client] = []
        for number in 0..<IngestServer.maxConnections {
            let client = try ingest.connect()
            client.send(hello("n\(number)"))
            clients.append(client)
            for _ in 0..<2 { try ingest.turn() }
        }
        idle.send("x\n")
        #expect(clients.allSatisfy { $0.receive().contains("\"ok\":true") })
        let more = try ingest.connect()
        try ingest.turn()
        #expect(
            more.receive()
                == "{\"line\":0,\"reason\":\"room\",\"error\":\"32 connections are open\"}\n"
        )
        #expect(ingest.counters.rejected == 2)
        #expect(ingest.counters.accepted == 33)
        #expect(ingest.counters.openConnections == 32)
    }

    @Test("the memory of a run that is over is given back")
    func memory() throws {
        let ingest = try ServedIngest()
        func mappings() throws -> Int {
            // Foundation reads no more of it than one call gives.
            let maps = try FileDescriptor(opening: "/proc/self/maps", O_RDONLY)
            let text = String(decoding: try maps.readAll(atMost: 1 << 24) ?? [], as: UTF8.self)
            return text.components(separatedBy: ingest.files.path).count - 1
        }
        let client = try ingest.connect()
        client.send(hello("a"))
        // One has a few milliseconds, and a slow machine needs several.
        for _ in 0..<20 { try ingest.turn() }
        #expect(try mappings() == 1)
        client.hangUp()
        for _ in 0..<20 { try ingest.turn() }
        #expect(try mappings() == 0)
        #expect(try ingest.verdict("a") == .ended(.crashed))
    }

    @Test("the socket's file: closed to others, taken over from the dead, not from the living")
    func file() throws {
        var ingest: ServedIngest? = try ServedIngest()
        let path = try #require(ingest?.path)
        let mode = try FileSystem.status(of: path).st_mode
        #expect(mode & 0o777 == 0o660)
        let directory = try IngestDirectory(
            path: try #require(ingest?.files.path),
            resumeGrace: .zero,
            now: .now()
        )
        #expect(throws: SystemError(call: "bind unix:\(path)", code: EADDRINUSE)) {
            _ = try IngestServer(path: path, directory, nil)
        }
        ingest = nil
        #expect(!FileManager.default.fileExists(atPath: path))

        let files = try TelemetryDirectory()
        try Self.leaveSocket("\(files.path)/s")
        let next = try IngestDirectory(path: files.path, resumeGrace: .zero, now: .now())
        _ = try IngestServer(path: "\(files.path)/s", next, nil)
        try Data("mine".utf8).write(to: URL(fileURLWithPath: "\(files.path)/file"))
        #expect(throws: SystemError.self) {
            _ = try IngestServer(path: "\(files.path)/file", next, nil)
        }
        #expect(FileManager.default.fileExists(atPath: "\(files.path)/file"))
    }

    /// What a listener that was killed leaves.
    private static func leaveSocket(_ path: String) throws {
        let listener = try ListeningSocket(on: .unix(path: "\(path).first"))
        try FileSystem.link("\(path).first", to: path)  // It takes only its own name with it.
        withExtendedLifetime(listener.rawValue) {}
    }

    @Test("a connection that gets the last descriptor stays")
    func lastDescriptor() async {
        await #expect(processExitsWith: .success) {
            let ingest = try ServedIngest()
            let client = try ingest.connect()
            let next = dup(STDIN_FILENO)
            close(next)
            var limit = rlimit()
            getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
            limit.rlim_cur = rlim_t(next) + 1
            setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
            for _ in 0..<3 { try ingest.turn() }
            #expect(ingest.counters.openConnections == 1)
            withExtendedLifetime(client) {}
        }
    }

    @Test("of sixty clients at once, those with room are served, and each other one is told")
    func burst() throws {
        let ingest = try ServedIngest()
        let clients = try (0..<60).map { number in
            let client = try ingest.connect()
            client.send(hello("cam-\(number)"))
            return client
        }
        for _ in 0..<10 { try ingest.turn() }
        let replies = clients.map { $0.receive() }
        let most = IngestServer.maxConnections
        #expect(replies[..<most].allSatisfy { $0.contains("\"ok\":true") }, "\(replies)")
        #expect(replies[most...].allSatisfy { $0.contains("\"reason\":\"room\"") }, "\(replies)")
        #expect(ingest.counters.rejected == UInt64(60 - most))
        #expect(ingest.counters.openConnections == most)
    }

    @Test("a silent connection that makes room for another is answered, and counted")
    func silentOnesMakeRoom() throws {
        let ingest = try ServedIngest()
        let silent = try ingest.connect()
        try ingest.turn()
        let others = try (0..<IngestServer.maxConnections).map { number in
            let client = try ingest.connect()
            client.send(hello("cam-\(number)"))
            return client
        }
        for _ in 0..<3 { try ingest.turn() }
        #expect(silent.receive().contains("\"reason\":\"room\""))
        #expect(others.allSatisfy { $0.receive().contains("\"ok\":true") })
        #expect(ingest.counters.rejected == 1)
    }

    @Test(
        "no client gets the name of a recorder whose file is missing or overwritten",
        arguments: [false, true]
    )
    func reservedName(isOverwritten: Bool) throws {
        let ingest = try ServedIngest()
        let recorder = try ingest.files.publisher("cam")
        ingest.server.reserve(["cam"])
        try FileManager.default.removeItem(atPath: ingest.files.file("cam"))
        if isOverwritten {
            try Data("other".utf8).write(to: URL(fileURLWithPath: ingest.files.file("cam")))
        }
        for _ in 0..<2 {
            let client = try ingest.connect()
            client.send(hello("cam"))
            for _ in 0..<2 { try ingest.turn() }
            #expect(client.receive().contains("is publishing itself"))
        }
        #expect(recorder.check() != nil)
        #expect(try ingest.verdict("cam") == .alive)
    }

    @Test("the name of a recorder that has ended since the last read is free for a client")
    func freedName() throws {
        let ingest = try ServedIngest()
        do { _ = try ingest.files.publisher("cam") }
        ingest.server.reserve(["cam"])
        let client = try ingest.connect()
        client.send(hello("cam"))
        for _ in 0..<2 { try ingest.turn() }
        #expect(client.receive().contains("\"ok\":true"))
        #expect(try ingest.verdict("cam") == .alive)
    }

    @Test("runs of a previous exporter are held for a time, and then abandoned")
    func held() throws {
        let files = try TelemetryDirectory()
        // Another process's, by its own open file: what dies with an exporter is the lock.
        let before = try IngestBench(files)
        before.hello()
        before.say(#"{"type":"recording_started","id":1,"stream":"gate"}"#)
        before.say(#"{"type":"recording_progress","id":1,"bytes":10}"#)
        before.hangUp()
        let start = BootTime.now()
        let next = try IngestDirectory(path: files.path, resumeGrace: .seconds(5), now: start)
        #expect(next.awaitingResume == ["py"])
        #expect(next.deadline == start.advanced(by: .seconds(5)))
        #expect(try before.snapshot().verdict == .alive)
        #expect(next.abandonOverdue(at: start.advanced(by: .milliseconds(4999))) == [])
        #expect(next.abandonOverdue(at: start.advanced(by: .seconds(5))) == ["py"])
        #expect(next.deadline == nil)
        #expect(try before.snapshot().verdict == .ended(.crashed))
    }

    @Test("a socket whose file or directory is removed is created again", arguments: [false, true])
    func removedSocket(_ withDirectory: Bool) throws {
        let files = try TelemetryDirectory()
        let folder = files.path + "/run"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
        let ingest = try ServedIngest(socketFolder: folder)
        try FileManager.default.removeItem(atPath: withDirectory ? folder : ingest.path)
        while !FileManager.default.fileExists(atPath: ingest.path) {
            try ingest.turn()
            usleep(10_000)
        }
        let client = try ingest.connect()
        client.send(hello("a"))
        try ingest.turn()
        try ingest.turn()
        #expect(client.receive().contains("\"ok\":true"))
    }
}
