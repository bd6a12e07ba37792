import Foundation
import Posix
import StreamVaultTelemetry
import Testing
import WebSocket

@testable import Catalogue
@testable import Media
@testable import Recorder

/// The WebSocket as Python's `websockets` and bare sockets see it.
@Suite("WebSocket clients", .timeLimit(.minutes(5)))
struct BroadcasterTests {
    /// Not standardized: that would follow the link out of the environment.
    private static let python = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("../../../.venv/bin/python").path

    /// What scripts begin with: `url`, and a bare connection after its handshake.
    private static let prelude = """
        import asyncio, json, os, socket, struct, sys, websockets
        host, port = sys.argv[1].rsplit(":", 1)
        url = f"ws://{host}:{port}/ws"

        def bare(receive_buffer=None, at_once=b""):
            s = socket.socket()
            if receive_buffer: s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            s.connect((host, int(port)))
            s.settimeout(30)
            s.sendall(b"GET /ws HTTP/1.1\\r\\nHost: a\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n"
                b"Sec-WebSocket-Version: 13\\r\\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\\r\\n\\r\\n"
                + at_once)
            head = b""
            while not head.endswith(b"\\r\\n\\r\\n"): head += s.recv(1)
            assert head.startswith(b"HTTP/1.1 101 "), head
            return s

        def exactly(s, n):
            data = b""
            while len(data) < n:
                part = s.recv(n - len(data))
                if not part: return None
                data += part
            return data

        def frame(s):
            head = exactly(s, 2)
            if head is None: return None
            length = head[1]
            if length == 126: length = struct.unpack(">H", exactly(s, 2))[0]
            elif length == 127: length = struct.unpack(">Q", exactly(s, 8))[0]
            return head[0], exactly(s, length)

        def ending(s):
            "Everything up to the end of the connection: the last frame and how it ended."
            last = None
            try:
                while (next := frame(s)) is not None: last = next
            except ConnectionResetError: return "reset"
            if last and last[0] == 0x88: return struct.unpack(">H", last[1][:2])[0] if last[1] else "empty"
            return "no close"

        """

    /// Runs a script against a served bench, and does `meanwhile`; what the script printed.
    private func run(
        _ script: String,
        _ settings: Broadcaster.Settings = Broadcaster.Settings(),
        streams: [StreamConfiguration] = [],
        after line: String? = nil,
        meanwhile: (APIBench, RunningService) throws -> Void = { _, _ in }
    ) throws -> [String] {
        let bench = try APIBench(streams, settings)
        bench.registry.open()
        let (address, service) = try bench.serve()
        let process = Process()
        let output = Foundation.Pipe()
        process.executableURL = URL(fileURLWithPath: Self.python)
        process.arguments = ["-u", "-c", Self.prelude + script, "\(address)"]
        process.standardOutput = output
        try process.run()
        var text = ""
        while line.map({ !text.contains($0) }) ?? false {
            let part = output.fileHandleForReading.availableData
            try #require(!part.isEmpty, "ended early: \(text)")
            text += String(decoding: part, as: UTF8.self)
        }
        try meanwhile(bench, service)
        text += String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
        service.stop(.now())
        try waitFor("the broadcaster's end") { service.hasEnded }
        try bench.close()
        return text.split(separator: "\n").map(String.init)
    }

    @Test("a client receives all events of a recording, and the shutdown")
    func messages() throws {
        let script = """
            async def main():
                async with websockets.connect(url) as ws:
                    async for text in ws:
                        message = json.loads(text)
                        assert set(message) == {"type", "data", "timestamp"}, message
                        data = message["data"]
                        kind = message["type"]
                        if kind == "active_recordings_update": print(kind, [r["stream"] for r in data])
                        else: print(kind, data.get("stream"), data.get("status"))
                    print(ws.close_code, ws.close_reason)
            asyncio.run(main())
            """
        let lines = try run(script, streams: [.packets("gate")], after: "\n") { bench, service in
            let worker = bench.registry.workers[0]
            try worker.start()
            try waitFor("a recording") { bench.registry.active.count == 1 }
            worker.stop()
            try waitFor("its end") { worker.hasEnded }
            bench.broadcaster.send(.stopping(.broadcaster, secondsLeft: 1))
            service.stop(BootTime.now().advanced(by: .seconds(30)))
        }
        let events = lines.filter { !$0.hasPrefix("active_recordings_update") }
        #expect(lines.first == "active_recordings_update []")
        #expect(
            events == [
                "recording_started gate recording", "recording_stopped gate completed",
                "shutdown None None", "1001 the recorder is stopping",
            ]
        )
    }

    @Test("the active recordings are sent again after a change, and while they grow")
    func updates() throws {
        let script = """
            async def main():
                async with websockets.connect(url) as ws:
                    sizes, seen = set(), 0
                    async for text in ws:
                        message = json.loads(text)
                        if message["type"] != "active_recordings_update": continue
                        seen += 1
                        if seen == 1: print("ready")
                        for recording in message["data"]: sizes.add(recording["bytes"])
                        if len(sizes) == 3: break
                print("grew")
            asyncio.run(main())
            """
        var settings = Broadcaster.Settings()
        (settings.pause, settings.refresh) = (.milliseconds(10), .milliseconds(200))
        let lines = try run(script, settings, streams: [.packets("gate")], after: "ready") {
            bench,
            _ in
            try bench.registry.workers[0].start()
        }
        #expect(lines == ["ready", "grew"])
    }

    @Test("fragments, pings, large and empty messages are accepted")
    func wellBehaved() throws {
        let script = """
            async def main():
                async with websockets.connect(url) as ws:
                    await ws.send("")
                    await ws.send(["frag", "mented", "€"])
                    await ws.send([b"\\0" * 1000, b"\\1" * 1000])
                    await ws.send("x" * 16384)
                    await asyncio.wait_for(await ws.ping(b"p" * 125), 30)
                    print("pong")
                    await ws.close(4000, "enough")
                print(ws.close_code, ws.close_reason)
                s = bare()
                frame(s)
                # A ping between two fragments is answered between them (RFC 6455 §5.4).
                s.sendall(bytes([1, 0x80, 0, 0, 0, 0]) + bytes([0x89, 0x82, 0, 0, 0, 0]) + b"hi")
                print(frame(s))
                s.sendall(bytes([0x80, 0x80, 0, 0, 0, 0, 0x88, 0x80, 0, 0, 0, 0]))
                print(ending(s))
            asyncio.run(main())
            """
        #expect(
            try run(script) == ["pong", "4000 enough", "(138, b'hi')", "empty"]
        )
    }

    @Test("frames that arrive together with the handshake are read")
    func eager() throws {
        let script = """
            s = bare(at_once=bytes([0x89, 0x82, 0, 0, 0, 0]) + b"hi")
            frames = [frame(s), frame(s)]
            print(frames[0], frames[1][1][:8])
            s = bare(at_once=b"\\x81\\x02hi")
            print(ending(s))
            """
        #expect(try run(script) == ["(138, b'hi') b'{\"type\":'", "1002"])
    }

    @Test(
        "a client that violates the protocol gets the close code, and the connection ends",
        arguments: [
            ("b'\\xc1\\x80' + bytes(4)", 1002), ("b'\\x83\\x80' + bytes(4)", 1002),
            ("b'\\x81\\x05Hello'", 1002), ("b'\\x80\\x80' + bytes(4)", 1002),
            ("b'\\x81\\x82' + bytes(4) + b'\\xc3\\x28'", 1007),
            ("b'\\x82\\xfe\\x40\\x01' + bytes(4) + bytes(16385)", 1009),
            ("b'\\x82\\xff' + b'\\x7f' * 8 + bytes(4) + bytes(1 << 20)", 1009),
            (
                "(b'\\x02\\xfe\\x20\\x00' + bytes(4) + bytes(8192)) + (b'\\x00\\xfe\\x20\\x00' + bytes(4) + bytes(8192)) * 2",
                1009
            ),
            ("b'GET / HTTP/1.1\\r\\n\\r\\n'", 1002),
        ] as [(String, Int)]
    )
    func violations(_ bytes: String, _ code: Int) throws {
        let script = """
            s = bare()
            frame(s)
            try: s.sendall(\(bytes))
            except ConnectionError: pass  # The server may have heard enough.
            print(ending(s))
            """
        #expect(try run(script) == ["\(code)"])
    }

    @Test("a client that vanishes or never closes delays no other")
    func silentClients() throws {
        let script = """
            gone = bare()
            gone.close()
            mute = bare()
            async def main():
                async with websockets.connect(url) as ws:
                    print("ready", flush=True)
                    try:
                        async for text in ws: pass
                    except websockets.ConnectionClosed: pass
                    print(ws.close_code)
            asyncio.run(main())
            print(ending(mute))
            """
        let lines = try run(script, after: "ready") { _, service in
            service.stop(BootTime.now().advanced(by: .seconds(1)))
            try waitFor("the end, whatever the mute one does") { service.hasEnded }
        }
        #expect(lines == ["ready", "1001", "1001"])
    }

    @Test("a client without a pong is disconnected, one with a pong is not")
    func keepAlive() throws {
        let script = """
            mute = bare()
            async def main():
                async with websockets.connect(url, ping_interval=None) as ws:
                    while True:
                        data = await asyncio.get_running_loop().run_in_executor(None, frame, mute)
                        print(data if data is None or data[0] != 0x81 else "text")
                        if data is None: break
                    await asyncio.wait_for(await ws.ping(), 30)
                    print("alive")
            asyncio.run(main())
            """
        var settings = Broadcaster.Settings()
        (settings.client.silence, settings.client.pong) = (.milliseconds(200), .seconds(2))
        #expect(try run(script, settings) == ["text", "(137, b'')", "None", "alive"])
    }

    @Test("a client that does not read is disconnected, and the others receive everything")
    func slowClient() throws {
        let script = """
            slow = bare(receive_buffer=4096)
            async def main():
                async with websockets.connect(url) as ws:
                    print("ready")
                    count = 0
                    async for text in ws:
                        if json.loads(text)["type"] == "recording_error": count += 1
                        if count == 400: break
                    print(count)
            asyncio.run(main())
            print(ending(slow))
            """
        var settings = Broadcaster.Settings()
        settings.client.queuedBytes = 1 << 20
        let lines = try run(script, settings, after: "ready") { bench, _ in
            let recording = ActiveRecording(
                id: 1,
                stream: "gate",
                startedAt: .now(),
                startedBoot: .now(),
                filePath: "",
                container: .mpegTS
            )
            let words = String(repeating: "x", count: 20_000)
            for _ in 0..<400 {
                bench.broadcaster.send(.recording(.failed(recording, error: words)))
                // Nobody sends eight megabytes at once; the fast client has to keep up.
                usleep(1000)
            }
        }
        #expect(lines.prefix(2) == ["ready", "400"])
        #expect(["reset", "no close"].contains(lines.last))
    }

    @Test("a client beyond the limit is refused, before or after the handshake")
    func crowd() throws {
        let script = """
            import urllib.error, urllib.request
            async def main():
                one = await websockets.connect(url)
                await one.recv()
                two = await websockets.connect(url)
                await two.recv()
                while True:
                    try:
                        three = await websockets.connect(url)
                        await three.wait_closed()
                        assert three.close_code == 1013, three.close_code
                    except websockets.InvalidStatus as error:
                        print(error.response.status_code, error.response.headers["Retry-After"])
                        break
                await two.close()
                while True:
                    try:
                        again = await websockets.connect(url)
                        print("room")
                        break
                    except websockets.InvalidStatus: await asyncio.sleep(0.05)
            asyncio.run(main())
            """
        var settings = Broadcaster.Settings()
        settings.maxClients = 2
        #expect(try run(script, settings) == ["503 5", "room"])
    }

    @Test("the gauge counts the clients")
    func gauge() throws {
        let script = """
            async def main():
                clients = [await websockets.connect(url) for _ in range(3)]
                for client in clients: await client.recv()
                print("ready")
                for client in clients: await client.wait_closed()
            asyncio.run(main())
            """
        _ = try run(script, after: "ready") { bench, service in
            let name = "streamvault_websocket_clients"
            try waitFor("three clients") { try bench.word(name) == (3.0).bitPattern }
            service.stop(BootTime.now().advanced(by: .seconds(30)))
            try waitFor("none") { try bench.word(name) == (0.0).bitPattern }
        }
    }
}

@Suite("Schedule of updates")
struct UpdateScheduleTests {
    @Test("updates are due soon after a change, not too often, and regularly while recordings grow")
    func clock() {
        var clock = UpdateSchedule(pause: .seconds(1), refresh: .seconds(10))
        let start = BootTime(nanoseconds: 1_000_000_000_000)
        #expect(clock.due == nil)
        clock.changed()
        #expect(clock.due.map { $0 <= start } == true)
        clock.sent(at: start, isGrowing: true)
        #expect(clock.due == start.advanced(by: .seconds(10)))
        clock.changed()
        #expect(clock.due == start.advanced(by: .seconds(1)))
        clock.sent(at: start.advanced(by: .seconds(1)), isGrowing: false)
        #expect(clock.due == nil)
    }
}
