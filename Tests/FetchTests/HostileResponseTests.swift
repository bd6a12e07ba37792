import Foundation
import Posix
import Synchronization
import TestSupport
import Testing

@testable import Fetch

@Suite("answers that nobody would send by accident", .timeLimit(.minutes(5)))
struct HostileResponseTests {
    private static let numbers = [
        0, 1, 2, 187, 188, 999, 1000, 1001, 1 << 31, 1 << 32, 1 << 62, .max - 1, .max,
    ]

    @Test("whatever comes in which order, no more is kept than was wanted", arguments: 0..<200)
    func exchange(seed: UInt64) {
        var random = SeededGenerator(state: seed)
        func number() -> Int { Self.numbers.randomElement(using: &random) ?? 0 }
        let range =
            Bool.random(using: &random) ? ByteRange(offset: number(), count: max(1, number())) : nil
        let limit = number()
        var exchange = ResponseCollector(
            limit: limit,
            range: range,
            acceptsAnyStatus: Bool.random(using: &random)
        )
        for _ in 0..<60 {
            switch Int.random(in: 0..<4, using: &random) {
            case 0: _ = exchange.addHeadLine(byteCount: number())
            case 1:
                exchange.endHead(
                    status: [0, 100, 200, 206, 404, .max, -1].randomElement(using: &random) ?? 0
                )
            default:
                let piece = [UInt8](repeating: 1, count: min(number(), 3000))
                let announced = [nil, number(), -1].randomElement(using: &random) ?? nil
                _ = exchange.addBody(piece.span, announced: announced)
            }
            #expect(exchange.body.count <= limit)
            #expect(exchange.body.capacity <= 2 * ResponseCollector.maxReservedBytes)
            if let range, exchange.status == 200 {
                #expect(exchange.body.count <= max(range.count, 3000 * 60))
            }
        }
    }

    private static let fields = [
        "Content-Length: ", "Content-Range: ", "Transfer-Encoding: ", "Location: ", "Set-Cookie: ",
        "Content-Encoding: ", "Connection: ", "Retry-After: ", "X-Long: ",
    ]
    private static let values = [
        "", "0", "-1", "1", "10", "188", "99999999999999999999", "9223372036854775807",
        "18446744073709551616", "0x10", "1e9", "1, 2", "bytes 0-9/10", "bytes 0-9/*",
        "bytes 9223372036854775807-9223372036854775807/*", "bytes -1-/", "bytes 9-0/10",
        "bytes */10",
        "bytes 0-99999999999999999999/99999999999999999999", "chunked", "chunked, chunked", "gzip",
        "identity", "close", "a=b", "/", "//", "http://[", "\u{1b}[31m", "x\0y", "NaN",
    ]
    private static let starts = [
        "HTTP/1.1 200 OK", "HTTP/1.1 206 Partial Content", "HTTP/1.1 204 x", "HTTP/1.1 304 x",
        "HTTP/1.1 302 Found", "HTTP/1.1 416 x", "HTTP/1.1 100 Continue", "HTTP/1.1 101 Switching",
        "HTTP/1.1 99999 x", "HTTP/1.1 -1 x", "HTTP/1.1 000 x", "HTTP/1.0 200", "HTTP/2 200",
        "HTTP/9.9 200 x",
        "ICY 200 OK", "HTTP/1.1", "", "\0",
    ]
    private static let bodies = [
        "", "0123456789", "a\r\n0123456789\r\n0\r\n\r\n", "FFFFFFFFFFFFFFFF\r\nx", "-1\r\nx",
        "7fffffffffffffff\r\nx", "0\r\nX: y\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n",
    ]

    /// An answer put together of those; the same one for the same seed.
    private static func answer(_ seed: UInt64) -> [UInt8] {
        var random = SeededGenerator(state: seed)
        var text = (starts.randomElement(using: &random) ?? "") + "\r\n"
        for _ in 0..<Int.random(in: 0..<5, using: &random) {
            let value = values.randomElement(using: &random) ?? ""
            let times = Int.random(in: 0..<40, using: &random) == 0 ? 20_000 : 1
            text += (fields.randomElement(using: &random) ?? "")
            text += String(repeating: value, count: times) + "\r\n"
        }
        if Int.random(in: 0..<50, using: &random) == 0 {
            text += String(repeating: "X: y\r\n", count: 70_000)
        }
        text += "\r\n" + (bodies.randomElement(using: &random) ?? "")
        return Array(text.utf8)
    }

    @Test("an answer of odd numbers ends in a result within its bounds, with and without a range")
    func answers() async throws {
        let stop = try StopSignal()
        let server = try ScriptedServer { path, _ in
            .init(raw: Self.answer(UInt64(path.dropFirst()) ?? 0))
        }
        let range = try #require(ByteRange(offset: 2, count: 5))
        let broken = await onThread { () -> [Int] in
            let fetcher = Fetcher(userAgent: "test")
            let limits = FetchLimits(bytes: 1000, timeout: .seconds(30), redirects: 1)
            return (0..<600).filter { number in
                let url = server.url("/\(number)")
                let given = number.isMultiple(of: 2) ? range : nil
                let result = Result { () throws(FetchError) in
                    try fetcher.get(url, range: given, limits: limits, until: stop)
                }
                return switch result {
                case .success(let body):
                    body.bytes.count > 1000 || (given.map { body.bytes.count != $0.count } ?? false)
                case .failure(let error): error == .timedOut || error == .cancelled
                }
            }
        }
        #expect(
            broken == [],
            "\(broken.first.map { String(decoding: Self.answer(UInt64($0)), as: UTF8.self) } ?? "")"
        )
    }

    @Test("libcurl that fails is replaced, and not tried without a pause")
    func failingLibrary() async throws {
        let server = try ScriptedServer { _, _ in .text("x") }
        let stop = try StopSignal()
        let made = await onThread {
            () -> (results: [Result<FetchedBody, FetchError>], tries: Int) in
            // A piece of memory that libcurl does not take for a handle.
            let nothing = UnsafeMutableRawPointer.allocate(byteCount: 1 << 16, alignment: 16)
            nothing.initializeMemory(as: UInt8.self, repeating: 0, count: 1 << 16)
            defer { nothing.deallocate() }
            let tries = Mutex(0)
            do throws(FetchError) {
                let transfers = try Transfers(headers: [:], userAgent: "test") {
                    () throws(FetchError) in
                    let number = tries.withLock { tries in
                        tries += 1
                        return tries
                    }
                    return number <= 3 ? MultiHandle(adopting: nothing) : try MultiHandle()
                }
                // Nothing is under way: it waits for its time, though it fails at once.
                let start = BootTime.now()
                let ended = transfers.wait(until: start.advanced(by: .milliseconds(300)), or: stop)
                guard ended.isEmpty, BootTime.now().since(start) >= .milliseconds(300) else {
                    return ([], -1)
                }
                let request = FetchRequest(url: server.url("/a"), limits: standard)
                var results: [Result<FetchedBody, FetchError>] = []
                while results.count < 4, tries.withLock({ $0 }) < 6 {
                    _ = transfers.start(request)
                    results += transfers.wait(until: nil, or: stop).map(\.result)
                    if case .success? = results.last { break }
                }
                return (results, tries.withLock { $0 })
            } catch {
                return ([.failure(error)], 0)
            }
        }
        #expect(made.tries == 4, "\(made)")
        #expect((try? made.results.last?.get().bytes) == [0x78], "\(made)")
    }
}
