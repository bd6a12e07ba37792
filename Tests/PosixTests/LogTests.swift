import Glibc
import Testing

@testable import Posix

@Suite("Log", .timeLimit(.minutes(5)))
struct LogTests {
    private let directory: String

    init() throws {
        var template = Array("/tmp/streamvault-log-XXXXXX".utf8CString)
        directory = String(cString: try #require(mkdtemp(&template)))
    }

    @Test(
        "a value is quoted and escaped where a parser of logfmt needs it",
        arguments: [
            ("plain", "plain"), ("", #""""#), ("two words", #""two words""#),
            (#"a"b"#, #""a\"b""#), (#"a\b"#, #""a\\b""#), ("a=b", #""a=b""#),
            ("a\nb\r\t", #""a\nb\r\t""#), ("\u{1B}[31m", #""\u001b[31m""#),
            ("\u{7F}\u{9B}", #""\u007f\u009b""#), ("x\u{2028}\u{202E}y", #""x\u2028\u202ey""#),
            ("\u{E0041}", #""\udb40\udc41""#), ("🛑é", "🛑é"), ("👩\u{200D}🚒", "👩\u{200D}🚒"),
        ]
    )
    func escaping(_ value: String, _ written: String) {
        #expect(logLine(.info, "m", [("k", value)]).hasSuffix(" level=info msg=m k=\(written)\n"))
    }

    @Test(
        "a line has at most 8 KiB, and its quotes are closed",
        arguments: ["x", "\"", "\u{1B}", "é", "🛑"]
    )
    func longLines(_ part: String) throws {
        let long = String(repeating: part, count: 60_000)
        let fields = (0..<9).map { ("k\($0)", "a b" + long + "the end") }
        let line = logLine(.error, "m", fields)
        #expect(line.utf8.count <= Log.maxLineBytes && line.hasSuffix(" cut=true\n"))
        let quotes = line.replacing("\\\\", with: "").replacing("\\\"", with: "").count {
            $0 == "\""
        }
        #expect(quotes > 0 && quotes.isMultiple(of: 2))
    }

    @Test("a long value keeps its beginning and its end, where errors have their reason")
    func middle() {
        let line = logLine(
            .error,
            "m",
            [("error", "http://" + String(repeating: "h", count: 60_000) + ": refused")]
        )
        #expect(line.contains("error=\"http://h") && line.hasSuffix("h: refused\"\n"))
    }

    @Test("lines that are dropped are counted, and reported where they are missing")
    func dropped() throws {
        var queue = LineQueue()
        let line = Array((String(repeating: "x", count: 1023) + "\n").utf8)
        for _ in 0..<300 { queue.append(line) }
        #expect(queue.takeDroppedLines() == 44)
        let batchTaken = queue.take()
        var batch = try #require(batchTaken)
        let text = String(decoding: batch.bytes, as: UTF8.self)
        #expect(text.hasSuffix("msg=\"Log lines dropped\" count=44\n"))
        batch.written = 10 * 1024 + 1  // Then the disk is full.
        queue.finish(batch)
        #expect(queue.takeDroppedLines() == 246)
        queue.append(line)
        let nextTaken = queue.take()
        let next = try #require(nextTaken)
        #expect(String(decoding: next.bytes, as: UTF8.self).contains("count=290\n"))
        queue.finish(next)  // Nothing of it was written.
        #expect(queue.takeDroppedLines() == 1)
        queue.reportsLoss = true
        let lastTaken = queue.take()
        let last = try #require(lastTaken)
        #expect(String(decoding: last.bytes, as: UTF8.self).contains("count=291\n"))
    }

    @Test("a FIFO that nobody reads holds up no caller and no end", arguments: [false, true])
    func fifo(hasThread: Bool) throws {
        let path = "\(directory)/fifo"
        try #require(mkfifo(path, 0o600) == 0)
        let output = LogOutput(try LogDestination(path: path))
        if hasThread { output.startThread(named: "log") }
        let line = Array(("number=" + String(repeating: "x", count: 8000) + "\n").utf8)
        let count = 100
        for _ in 0..<count { output.append(line) }
        output.flush(until: .now())
        let reader = try FileDescriptor(opening: path, O_RDONLY | O_NONBLOCK)
        var read: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        let deadline = BootTime.now().advanced(by: .seconds(60))
        repeat {
            output.flush(until: BootTime.now().advanced(by: .milliseconds(1)))
            let got = try? buffer.withUnsafeMutableBytes { try reader.read(into: $0) }
            read += buffer[..<(got ?? 0)]
        } while lines(read, "number=").count + reported(read) < count && BootTime.now() < deadline
        #expect(lines(read, "number=").count + reported(read) == count)
        #expect(output.takeDroppedLines() == UInt64(reported(read)))
        #expect(reported(read) > 0)
    }

    @Test("a device that is full loses lines, which are counted")
    func full() throws {
        let output = LogOutput(try LogDestination(path: "/dev/full"))
        for _ in 0..<3 { output.append(Array("line\n".utf8)) }
        #expect(output.takeDroppedLines() == 3)
    }

    @Test("a failure is reported in the other output, once")
    func reportedFailure() throws {
        let path = "\(directory)/log"
        let other = LogOutput(try LogDestination(path: path))
        let output = LogOutput(try LogDestination(path: "/dev/full"), reportingTo: other)
        for _ in 0..<3 { output.append(Array("line\n".utf8)) }
        #expect(try content(path).matches(of: /msg="Log file not written" error=.*28/).count == 1)
    }

    @Test(
        "a file that was renamed is created anew, when that is asked for or noticed",
        arguments: [true, false]
    )
    func renamed(isAsked: Bool) throws {
        let path = "\(directory)/log"
        let output = LogOutput(try LogDestination(path: path))
        output.append(Array("before\n".utf8))
        try #require(rename(path, path + ".1") == 0)
        if isAsked { output.reopen() }
        output.append(Array("after\n".utf8))
        #expect(try content(path) == "after\n")
        #expect(try content(path + ".1") == "before\n")
    }

    @Test("a file that cannot ever be opened is an error, as before")
    func missingDirectory() {
        #expect(throws: SystemError.self) { _ = try Log(path: "\(directory)/none/log") }
    }

    private func content(_ path: String) throws -> String {
        String(
            decoding: try FileDescriptor(opening: path, O_RDONLY).readAll(atMost: 1 << 24) ?? [],
            as: UTF8.self
        )
    }

    private func lines(_ bytes: [UInt8], _ part: String) -> [Substring] {
        String(decoding: bytes, as: UTF8.self).split(separator: "\n").filter { $0.contains(part) }
    }

    private func reported(_ bytes: [UInt8]) -> Int {
        lines(bytes, "Log lines dropped").compactMap {
            $0.split(separator: "=").last.flatMap { Int($0) }
        }
        .reduce(0, +)
    }
}

@Suite("What repeats is logged once, and then every ten minutes")
struct LogLimiterTests {
    private let limiter = LogLimiter()

    @Test("with the number of repetitions that were left out")
    func repeated() {
        let checks = [0, 1, 599, 600, 601].map { limiter.check("HTTP status 404", at: time($0)) }
        #expect(checks == [0, nil, nil, 2, nil])
    }

    @Test("each condition for itself, and no more are remembered than there is room for")
    func bounded() {
        for number in 0..<1000 { #expect(limiter.shouldLog("\(number)", at: time(number))) }
        #expect(!limiter.shouldLog("999", at: time(1001)))
        limiter.reset()
        #expect(limiter.shouldLog("999", at: time(1001)))
    }

    @Test(
        "numbers make no other condition, but for status and exit codes",
        arguments: [
            ("HTTP status 404", "HTTP status 403", false),
            (
                "failed to connect to 10.0.0.1 after 0 ms",
                "failed to connect to 10.0.0.2 after 12 ms", true
            ),
            ("ended with code 1", "ended with code 2", false), ("a", "b", false),
            ("[hls @ 0x55d0f8c4b2c0] no data", "[hls @ 0x7f00d8c4b2c0] no data", true),
            (
                "Segment 7 missed (https://a/…/s7.ts)", "Segment 81 missed (https://a/…/s81.ts)",
                true
            ),
        ]
    )
    func numbers(_ first: String, _ second: String, isSame: Bool) {
        #expect((LogLimiter.withoutNumbers(first) == LogLimiter.withoutNumbers(second)) == isSame)
    }

    private func time(_ seconds: Int) -> BootTime {
        BootTime(nanoseconds: 1_000_000_000).advanced(by: .seconds(seconds))
    }
}
