import Foundation
import Posix
import Synchronization
import TestSupport
import Testing

@testable import Fetch

@Suite("fetching over HTTP", .timeLimit(.minutes(5)))
struct FetcherTests {
    private let stop: StopSignal

    init() throws {
        stop = try StopSignal()
    }

    @Test("a body arrives whole, with its address")
    func whole() async throws {
        let body = (0..<500_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let server = try ScriptedServer { _, _ in .init(body: body) }
        let result = await get(server.url("/a?token=x"))
        #expect(result == .success(FetchedBody(bytes: body, url: server.url("/a?token=x"))))
    }

    @Test("redirects are followed, and the last address is told")
    func redirected() async throws {
        let server = try ScriptedServer { path, _ in
            switch path {
            case "/a": .redirect("/b/c?x=1")
            case "/b/c?x=1": .redirect("d")
            default: .text(path)
            }
        }
        let result = await get(server.url("/a"))
        #expect(result == .success(FetchedBody(bytes: Array("/b/d".utf8), url: server.url("/b/d"))))
    }

    @Test("the wish of a server to be asked later is part of the error, as seconds or as a date")
    func retryAfter() async throws {
        let server = try ScriptedServer { path, _ in
            let wish = path == "/b" ? "Fri, 01 Jan 2100 00:00:00 GMT" : "7"
            let status = path == "/c" ? 403 : 429
            let head = "HTTP/1.1 \(status) Busy\r\nContent-Length: 0\r\n"
            return .init(raw: Array("\(head)Retry-After: \(wish)\r\n\r\n".utf8))
        }
        #expect(
            await get(server.url("/a"))
                == .failure(.http(status: 429, retryAfter: .seconds(7)))
        )
        #expect(await get(server.url("/c")) == .failure(.http(status: 403)))
        guard case .failure(.http(429, let wish?)) = await get(server.url("/b")) else {
            Issue.record("no wish")
            return
        }
        #expect(wish > .seconds(365 * 86400))
    }

    @Test(
        "what is not a whole body of status 200 is an error",
        arguments: [
            (.status(404), .http(status: 404)), (.status(500), .http(status: 500)),
            (.status(204), .http(status: 204)), (.status(302), .http(status: 302)),
            (
                .init(body: [1, 2, 3], announced: 10),
                .truncated(received: 3, announced: 10)
            ), (.init(body: [UInt8](repeating: 0, count: 2000)), .tooLarge(limit: 1000)),
            (.redirect("/a"), .refusedRedirect(.tooMany)),
            (
                .redirect("file:///etc/passwd"), .refusedRedirect(.address(.scheme("file")))
            ),
            (.redirect("ftp://127.0.0.1/a"), .refusedRedirect(.address(.scheme("ftp")))),
            (.init(body: [1], announced: 10, holds: true), .timedOut),
        ] as [(ScriptedServer.Reply, FetchError)]
    )
    func failures(of reply: ScriptedServer.Reply, are expected: FetchError) async throws {
        let server = try ScriptedServer { _, _ in reply }
        let timeout = expected == .timedOut ? Duration.milliseconds(400) : .seconds(60)
        let limits = FetchLimits(bytes: 1000, timeout: timeout, redirects: 3)
        #expect(await get(server.url("/a"), limits) == .failure(expected))
    }

    @Test("a server that stalls is given up long before the time for a slow one is over")
    func stalled() async throws {
        let server = try ScriptedServer { _, _ in
            .init(body: [1], announced: 10, holds: true)
        }
        let limits = FetchLimits(bytes: 1000, timeout: .seconds(600), stall: .seconds(1))
        #expect(await get(server.url("/a"), limits) == .failure(.timedOut))
    }

    @Test("a body without Content-Length is cut off while it is received")
    func endless() async throws {
        let chunk = "8000\r\n" + String(repeating: "x", count: 0x8000) + "\r\n"
        let server = try ScriptedServer { _, _ in
            .init(
                headers: ["Transfer-Encoding": "chunked"],
                body: Array((chunk + chunk).utf8),
                holds: true
            )
        }
        let limits = FetchLimits(bytes: 40_000, timeout: .seconds(20))
        #expect(await get(server.url("/a"), limits) == .failure(.tooLarge(limit: 40_000)))
    }

    @Test("no server is a network error that names no query")
    func refused() async throws {
        let address = try #require(URL(string: "http://127.0.0.1:1/a?token=secret"))
        guard case .failure(.network(let text)) = await get(address) else {
            Issue.record("the fetch has not failed")
            return
        }
        #expect(!text.contains("secret") && !text.isEmpty)
    }

    @Test("a redirect from https to http is refused")
    func downgrade() throws {
        let secure = try #require(URL(string: "https://h.test/a"))
        var way = Redirection(from: secure, atMost: 1)
        #expect(throws: RedirectError.address(.downgrade)) { try way.follow("http://h.test/a") }
        #expect(way.url == secure)
    }

    @Test("a stop breaks off a body that is on its way, and the fetcher goes on working")
    func cancelled() async throws {
        let stop = stop
        let server = try ScriptedServer { path, _ in
            if path == "/good" { return .text("ok") }
            stop.request()
            return .init(body: [1], announced: 10, holds: true)
        }
        let fresh = try StopSignal()
        let results = await onThread {
            let fetcher = Fetcher(userAgent: "test")
            return [("/slow", stop), ("/good", fresh)].map { path, stop in
                fetched(fetcher, server.url(path), standard, stop)
            }
        }
        #expect(results[0] == .failure(.cancelled))
        #expect(
            results[1] == .success(FetchedBody(bytes: Array("ok".utf8), url: server.url("/good")))
        )
    }

    @Test("a stop at any moment of a chain of redirects is survived")
    func cancelledAtAnyMoment() async throws {
        let server = try ScriptedServer { path, _ in
            path.count < 12 ? .redirect(path + "x") : .text("end")
        }
        let ends = try await withThrowingTaskGroup(of: Int.self) { group in
            for delay in stride(from: 0, to: 6_000_000, by: 20_000) {
                let stop = try StopSignal()
                group.addTask {
                    async let stopped: Void = onThread { requestAfter(delay, stop) }
                    let result = await onThread {
                        fetched(Fetcher(userAgent: "test"), server.url("/"), standard, stop)
                    }
                    await stopped
                    return result == .failure(.cancelled) ? 1 : 0
                }
                if delay % 160_000 == 0 { _ = try await group.next() }
            }
            return try await group.reduce(0, +)
        }
        #expect(ends > 0)
    }

    @Test(
        "memory and descriptors do not grow over hundreds of fetches",
        arguments: [true, false]
    )
    func flat(overOneConnection keeps: Bool) async throws {
        // In a process of its own: other tests would be measured with it.
        await #expect(processExitsWith: .success) { [keeps = keeps as Bool] in
            let body = [UInt8](repeating: 0x47, count: 188 * 1000)
            let server = try ScriptedServer { _, _ in .init(body: body, keepsOpen: keeps) }
            let grown = try await growth(after: 500, from: server)
            #expect(grown.bytes == 600 * body.count)
            #expect(server.connections == (keeps ? 1 : 600))
            // Bodies that are kept would be 94,000 kB.
            #expect(grown.kilobytes < 10_000)
            // The server's side of a connection may still be open.
            #expect(grown.descriptors < 20)
        }
    }

    private func get(
        _ url: URL,
        _ limits: FetchLimits = standard
    ) async -> Result<FetchedBody, FetchError> {
        let stop = stop
        return await onThread { fetched(Fetcher(userAgent: "test"), url, limits, stop) }
    }
}

/// What this process has more of after so many fetches, following a hundred others, and the bytes of all.
private func growth(
    after count: Int,
    from server: ScriptedServer
) async throws -> (kilobytes: Int, descriptors: Int, bytes: Int) {
    let stop = try StopSignal()
    return await onThread {
        let fetcher = Fetcher(userAgent: "test")
        func fetch(_ count: Int) -> Int {
            (0..<count).reduce(0) { total, _ in
                let result = fetched(fetcher, server.url("/a"), standard, stop)
                return total + ((try? result.get().bytes.count) ?? 0)
            }
        }
        let first = fetch(100)
        let before = (residentKilobytes(), openDescriptors())
        let bytes = first + fetch(count)
        return (residentKilobytes() - before.0, openDescriptors() - before.1, bytes)
    }
}

private func residentKilobytes() -> Int {
    let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
    let line = status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") } ?? ""
    return line.split(separator: " ").compactMap { Int($0) }.first ?? 0
}

private func openDescriptors() -> Int { (try? FileSystem.entries(of: "/proc/self/fd"))?.count ?? 0 }

/// Requests a stop so many nanoseconds from now.
private func requestAfter(_ nanoseconds: Int, _ stop: StopSignal) {
    let moment = BootTime.now().advanced(by: .nanoseconds(nanoseconds))
    while BootTime.now() < moment {}
    stop.request()
}
