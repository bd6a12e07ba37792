import Foundation
import Posix
import TestSupport
import Testing

@testable import Fetch

@Suite("redirects to odd places", .timeLimit(.minutes(5)))
struct FetcherRedirectTests {
    private let stop: StopSignal

    init() throws {
        stop = try StopSignal()
    }

    @Test(
        "an odd Location is an address that is followed, or refused",
        arguments: [
            ("//[::1]/", .tooMany), ("//a%2Fb/x", .tooMany), ("", .tooMany),
            ("//", .address(.malformed)), ("http:///x", .address(.malformed)),
            ("http:", .address(.malformed)), ("http://[::1/", .address(.malformed)),
            ("javascript:0", .address(.scheme("javascript"))), ("?", .tooMany), ("#", .tooMany),
        ] as [(String, RedirectError)]
    )
    func odd(location: String, is expected: RedirectError) async throws {
        let server = try ScriptedServer { _, _ in .redirect(location) }
        let limits = FetchLimits(bytes: 1000, timeout: .seconds(20), redirects: 0)
        let result = await get(server.url("/a"), limits, until: stop)
        #expect(result == .failure(.refusedRedirect(expected)))
    }

    @Test("a host with a slash in it is not asked")
    func slashedHost() async throws {
        let server = try ScriptedServer { _, _ in .redirect("//a%2Fb/x") }
        guard case .failure(.network) = await get(server.url("/a"), until: stop) else {
            Issue.record("the fetch has not failed")
            return
        }
    }

    @Test("the loopback of IPv6 is asked where a redirect names it, and answers or not")
    func loopback() async throws {
        let server = try ScriptedServer { _, _ in .redirect("//[::1]/") }
        let result = await get(server.url("/a"), until: stop)
        #expect(result != .failure(.cancelled) && result != .failure(.refusedRedirect(.tooMany)))
        #expect(server.requests == ["/a"])
    }

    @Test("whatever a Location holds, the fetch ends in a result")
    func anything() async throws {
        let server = try ScriptedServer { path, _ in
            Int(path.dropFirst()).map { .raw(redirectingTo: oddLocation($0)) } ?? .text("end")
        }
        let stop = stop
        let failures = await onThread {
            let fetcher = Fetcher(userAgent: "test")
            return (0..<3000).filter { number in
                !endsAsItShould(fetcher, server.url("/\(number)"), number, stop)
            }
        }
        #expect(
            failures == [],
            "\(failures.first.map { String(decoding: oddLocation($0), as: UTF8.self) } ?? "")"
        )
    }

    @Test("a redirect counts whatever becomes of its body, and an error page as well")
    func bodies() async throws {
        let server = try ScriptedServer { path, _ in
            switch path {
            case "/held":
                .init(status: 302, headers: ["Location": "/long"], announced: 9, holds: true)
            case "/long":
                .init(
                    status: 307,
                    headers: ["Location": "/cut"],
                    body: .init(repeating: 0, count: 1 << 20)
                )
            case "/cut": .init(status: 308, headers: ["Location": "/page"], body: [1], announced: 9)
            default:
                .init(
                    status: 403,
                    body: .init(repeating: 0, count: 1 << 20),
                    announced: 1 << 40,
                    holds: true
                )
            }
        }
        let result = await get(server.url("/held"), until: stop)
        #expect(result == .failure(.http(status: 403)))
        #expect(server.requests == ["/held", "/long", "/cut", "/page"])
    }

    @Test(
        "an endless head is broken off",
        arguments: ["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 200 OK\r\nX: y\r\n"]
    )
    func endlessHead(_ start: String) async throws {
        let server = try ScriptedServer { _, _ in
            let rest = start.hasSuffix("\r\n\r\n") ? start : "X: y\r\n"
            return .init(raw: Array((start + String(repeating: rest, count: 100_000)).utf8))
        }
        guard case .failure(.network) = await get(server.url("/a"), until: stop) else {
            Issue.record("the fetch has not failed")
            return
        }
    }
}

/// Whether a redirect to an odd place is refused as such; where it leads to this machine, it is followed too.
private func endsAsItShould(_ fetcher: Fetcher, _ url: URL, _ number: Int, _ stop: StopSignal)
    -> Bool
{
    var limits = FetchLimits(bytes: 1000, timeout: .seconds(20), redirects: 0)
    guard case .failure(.refusedRedirect(let error)) = fetched(fetcher, url, limits, stop) else {
        return false
    }
    let location = String(decoding: oddLocation(number), as: UTF8.self)
    guard error == .tooMany, let next = try? URLPolicy.resolve(location, at: url),
        next.host() == "127.0.0.1"
    else { return true }
    limits.redirects = 1
    return switch fetched(fetcher, url, limits, stop) {
    case .success, .failure(.network), .failure(.refusedRedirect), .failure(.http): true
    case .failure: false
    }
}

/// A few pieces that mean something in an address, put together at random; the same ones for the same seed.
private func oddLocation(_ seed: Int) -> [UInt8] {
    let pieces = [
        "//", "/", ":", "@", "?", "#", "[", "]", "[::1]", "127.0.0.1", "127.0.0.1:1", "%2F", "%",
        "%00", "..", "\\",
        "http:", "https:", "file:", " ", "\t", "\u{1}", "\u{7f}", "é", "\u{202e}", "x", "0",
        "65536", "::", ";", "&",
    ]
    var random = SeededGenerator(state: UInt64(seed))
    return (0...Int.random(in: 0..<9, using: &random)).flatMap { _ in
        Int.random(in: 0..<12, using: &random) == 0
            ? [UInt8.random(in: 0x80...0xff, using: &random)]
            : Array((pieces.randomElement(using: &random) ?? "").utf8)
    }
}

extension ScriptedServer.Reply {
    fileprivate static func raw(redirectingTo location: [UInt8]) -> Self {
        let end = "\r\nContent-Length: 0\r\n\r\n"
        return .init(
            keepsOpen: true,
            raw: Array("HTTP/1.1 302 Found\r\nLocation: ".utf8) + location + Array(end.utf8)
        )
    }
}
