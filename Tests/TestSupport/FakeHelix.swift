import Foundation
package import HTTP
import Posix
import Synchronization

/// A stand-in for Twitch's API that answers as a test specifies and records its requests.
package final class FakeHelix: Sendable {
    package struct Asked: Sendable {
        package let method: String
        package let target: String
        package let authorization: String?
        package let clientID: String?
        package let contentType: String?
        package let body: String
    }

    /// The request, and how many of the same method and path came before.
    package typealias Script = @Sendable (_ asked: Asked, _ before: Int) -> Response?

    private let server: Mutex<Server>
    private let seen = Mutex<[Asked]>([])
    private let script: Script
    private let end: StopSignal
    package let base: String

    /// Without an answer of the script, the one that Twitch documents is sent.
    package init(_ script: @escaping Script = { _, _ in nil }) throws {
        var limits = Limits()
        limits.contentBytes = 1 << 16
        let listening = try Server(on: [.internet(.loopback, port: 0)], limits: limits)
        base = "http://\(listening.addresses[0])"
        server = Mutex(listening)
        self.script = script
        end = try StopSignal()
    }

    /// Serves until `stop`.
    package func start() {
        Thread.detachNewThread { [self] in
            server.withLock { server in
                var loop = EventLoop()
                while !end.isRequested {
                    loop.begin()
                    loop.watch(end.readableDescriptor, for: .reading)
                    _ = try? loop.wait(until: server.prepare(&loop))
                    try? server.serve(loop) { answer($0) }
                }
            }
        }
    }

    package func stop() { end.request() }

    package var requests: [Asked] { seen.withLock { $0 } }

    package func requests(_ path: String) -> [Asked] { requests.filter { $0.path == path } }

    private func answer(_ request: Request) -> Response {
        let asked = Asked(
            method: request.method.rawValue,
            target: request.target,
            authorization: request.header("Authorization"),
            clientID: request.header("Client-Id"),
            contentType: request.header("Content-Type"),
            body: String(decoding: request.body, as: UTF8.self)
        )
        let before = seen.withLock { seen in
            defer { seen.append(asked) }
            return seen.count { $0.path == asked.path }
        }
        return script(asked, before) ?? Self.documented(asked, before)
    }

    /// Tokens are `token-1`, `token-2`, …; the user of login `x` has the id 1000 and as many as `x` has letters.
    private static func documented(_ asked: Asked, _ before: Int) -> Response {
        switch asked.path {
        case "/oauth2/token":
            return json(
                #"{"access_token":"token-\#(before + 1)","expires_in":5,"token_type":"bearer"}"#
            )
        case "/helix/users":
            let users = asked.values("login").map {
                #"{"id":"\#(1000 + $0.count)","login":"\#($0)"}"#
            }
            return json(#"{"data":[\#(users.joined(separator: ","))]}"#)
        case "/helix/streams": return json(#"{"data":[],"pagination":{}}"#)
        case "/helix/eventsub/subscriptions": return json(#"{"data":[{"id":"x"}]}"#, 202)
        default: return .notFound
        }
    }

    package static func json(
        _ text: String,
        _ status: Int = 200,
        _ headers: [(String, String)] = []
    ) -> Response {
        Response(
            Status(status),
            contentType: "application/json",
            headers: headers.map { (name: $0.0, value: $0.1) },
            body: Array(text.utf8)
        )
    }
}

extension FakeHelix.Asked {
    package var path: String { String(target.prefix { $0 != "?" }) }

    package func values(_ name: String) -> [String] {
        let items = URLComponents(string: target)?.queryItems ?? []
        return items.filter { $0.name == name }.compactMap(\.value)
    }
}
