import Foundation
import HTTP
import TestSupport
import Testing

@testable import Fetch
@testable import Posix
@testable import Twitch

@Suite("Subscriptions at Twitch", .timeLimit(.minutes(5)))
struct SubscriptionsTests {
    private static let gate = TwitchBroadcaster(id: "1337", login: nil)
    private static let yard = TwitchBroadcaster(id: nil, login: "yard_cam")
    private static let path = "/helix/eventsub/subscriptions"

    private let log: Log
    private let logPath = FileManager.default.temporaryDirectory
        .appendingPathComponent(UUID().uuidString).path

    init() throws {
        let flags = O_WRONLY | O_CREAT | O_APPEND
        log = Log(file: try FileDescriptor(opening: logPath, flags))
    }

    private func subscriptions(_ helix: FakeHelix) throws -> Subscriptions {
        Subscriptions(
            [Self.gate, Self.yard],
            TwitchSettings.Application(
                clientID: "the-client",
                callback: try #require(URL(string: "https://cam.example/eventsub")),
                api: try #require(URL(string: "\(helix.base)/helix")),
                auth: try #require(URL(string: "\(helix.base)/oauth2/token"))
            ),
            clientSecret: Secret(Array("client+secret&=".utf8)),
            secret: Secret(Array("webhook-secret".utf8)),
            userAgent: "test",
            log
        )
    }

    /// The result of one pass.
    private func pass(_ helix: FakeHelix) throws -> Subscriptions.Pass {
        helix.start()
        defer { helix.stop() }
        var subscriptions = try subscriptions(helix)
        return subscriptions.pass(until: try StopSignal())
    }

    private func logged() throws -> String {
        try String(contentsOfFile: logPath, encoding: .utf8)
    }

    @Test("a pass makes the requests that Twitch documents, for both types of each broadcaster")
    func documented() throws {
        let helix = try FakeHelix()
        let pass = try pass(helix)
        #expect(pass.isComplete && pass.live.isEmpty && pass.pause == .seconds(3600))
        let token = try #require(helix.requests.first)
        #expect(token.method == "POST" && token.path == "/oauth2/token")
        #expect(token.contentType == "application/x-www-form-urlencoded")
        let form = try #require(URLComponents(string: "?\(token.body)")?.queryItems)
        #expect(
            form.map { "\($0.name)=\($0.value ?? "")" } == [
                "client_id=the-client", "client_secret=client+secret&=",
                "grant_type=client_credentials",
            ]
        )
        for asked in helix.requests.dropFirst() {
            #expect(asked.authorization == "Bearer token-1")
            #expect(asked.clientID == "the-client")
        }
        #expect(helix.requests("/helix/users").map { $0.values("login") } == [["yard_cam"]])
        #expect(
            helix.requests("/helix/streams").map { $0.values("user_id") } == [["1008", "1337"]]
        )
        let made = try helix.requests(Self.path).map { asked in
            #expect(asked.method == "POST" && asked.contentType == "application/json")
            return try JSONSerialization.jsonObject(with: Data(asked.body.utf8)) as? NSDictionary
        }
        let expected = ["1008", "1337"].flatMap { id in
            ["stream.online", "stream.offline"].map { type in
                [
                    "type": type, "version": "1", "condition": ["broadcaster_user_id": id],
                    "transport": [
                        "method": "webhook", "callback": "https://cam.example/eventsub",
                        "secret": "webhook-secret",
                    ],
                ] as NSDictionary
            }
        }
        #expect(made == expected)
    }

    @Test("broadcasters that are live are returned by the first pass only")
    func live() throws {
        let helix = try FakeHelix { asked, _ in
            guard asked.path == "/helix/streams" else { return nil }
            return FakeHelix.json(#"{"data":[{"user_id":"1008","type":"live"},{"user_id":"7"}]}"#)
        }
        helix.start()
        defer { helix.stop() }
        var subscriptions = try subscriptions(helix)
        let stop = try StopSignal()
        #expect(subscriptions.pass(until: stop).live == [Self.yard])
        #expect(subscriptions.pass(until: stop).live.isEmpty)
        #expect(helix.requests("/helix/streams").count == 1)
        #expect(helix.requests(Self.path).count == 8)
    }

    @Test("a subscription that exists counts as made")
    func exists() throws {
        let conflict = #"{"error":"Conflict","message":"subscription already exists"}"#
        let helix = try FakeHelix { asked, _ in
            asked.path == Self.path ? FakeHelix.json(conflict, 409) : nil
        }
        #expect(try pass(helix).isComplete)
        #expect(helix.requests(Self.path).count == 4)
        #expect(try logged().contains("wanted=4 refused=0"))
    }

    @Test("an expired token is replaced, once for a request")
    func expired() throws {
        let helix = try FakeHelix { asked, _ in
            let isOld = asked.authorization == "Bearer token-1"
            return asked.path == Self.path && isOld ? FakeHelix.json("{}", 401) : nil
        }
        #expect(try pass(helix).isComplete)
        #expect(helix.requests("/oauth2/token").count == 2)
        #expect(helix.requests(Self.path).count == 5)
    }

    @Test("a token that is always refused is an error, not a loop")
    func alwaysRefused() throws {
        let helix = try FakeHelix { asked, _ in
            asked.path == "/helix/users"
                ? FakeHelix.json(#"{"status":401,"message":"invalid"}"#, 401) : nil
        }
        let pass = try pass(helix)
        #expect(!pass.isComplete && pass.pause == .seconds(300))
        #expect(try logged().contains("Twitch refused"))
        #expect(helix.requests("/oauth2/token").count == 2)
        #expect(helix.requests("/helix/users").count == 2)
    }

    @Test(
        "a temporary failure is retried",
        arguments: [
            { _ in FakeHelix.json("{}", 429, [("Retry-After", "0")]) },
            { now in FakeHelix.json("{}", 429, [("Ratelimit-Reset", "\(now)")]) },
            { _ in FakeHelix.json("{}", 500) }, { _ in FakeHelix.json("<html>", 503) },
        ] as [@Sendable (Int) -> Response]
    )
    func retries(_ answer: @escaping @Sendable (Int) -> Response) throws {
        let helix = try FakeHelix { asked, before in
            let now = Int(Date().timeIntervalSince1970)
            return asked.path == "/helix/users" && before < 2 ? answer(now) : nil
        }
        #expect(try pass(helix).isComplete)
        #expect(helix.requests("/helix/users").count == 3)
    }

    @Test("a refused broadcaster or an unknown login does not affect the others")
    func refused() throws {
        let helix = try FakeHelix { asked, _ in
            if asked.path == "/helix/users" { return FakeHelix.json(#"{"data":[]}"#) }
            guard asked.path == Self.path, asked.body.contains("online") else { return nil }
            return FakeHelix.json(#"{"message":"banned\nlevel=info webhook"}"#, 403)
        }
        #expect(try !pass(helix).isComplete)
        #expect(helix.requests(Self.path).count == 2)
        #expect(helix.requests("/helix/streams").count == 1)
        let log = try logged()
        #expect(log.contains("Twitch knows no such login\" login=yard_cam"))
        #expect(log.contains("HTTP status 403: bannedlevel=info webhook"))
    }

    @Test(
        "a malformed answer ends the pass with a message",
        arguments: [
            ("/oauth2/token", FakeHelix.json("{}"), "malformed answer to token"),
            (
                "/oauth2/token", FakeHelix.json(#"{"access_token":"a\r\nX-Injected: b"}"#),
                "malformed answer to token"
            ),
            (
                "/oauth2/token", FakeHelix.json(#"{"message":"invalid client secret"}"#, 403),
                "HTTP status 403: token: invalid client secret"
            ),
            ("/helix/users", FakeHelix.json("{\"data\":{}}"), "malformed answer to users"),
            (
                "/helix/users", FakeHelix.json(#"{"data":[{"id":1,"login":"yard_cam"}]}"#),
                "malformed answer to users"
            ),
            (
                "/helix/users", FakeHelix.json("{}", 302, [("Location", "http://127.0.0.1:1/")]),
                "HTTP status 302"
            ),
            ("/helix/streams", FakeHelix.json("garbage"), "malformed answer to streams"),
        ] as [(String, Response, String)]
    )
    func malformed(_ path: String, _ answer: Response, _ message: String) throws {
        let helix = try FakeHelix { asked, _ in asked.path == path ? answer : nil }
        #expect(try !pass(helix).isComplete)
        #expect(try logged().contains(message))
    }

    @Test("a stop ends a request to a server that does not answer")
    func noAnswer() throws {
        // Without a thread that serves: the kernel accepts connections, and nothing answers.
        let helix = try FakeHelix()
        let stop = try StopSignal()
        var subscriptions = try subscriptions(helix)
        Thread.detachNewThread {
            usleep(200_000)
            stop.request()
        }
        let start = BootTime.now()
        #expect(!subscriptions.pass(until: stop).isComplete)
        // Far less than the 20 s that a request may take.
        #expect(BootTime.now().since(start) < .seconds(15))
    }

    @Test("no secret is logged, whatever fails")
    func secrets() throws {
        let helix = try FakeHelix { asked, before in
            switch asked.path {
            case "/helix/users" where before == 0: FakeHelix.json("garbage", 500)
            case "/helix/eventsub/subscriptions": FakeHelix.json(#"{"message":"no"}"#, 400)
            case "/helix/streams": FakeHelix.json("garbage")
            default: nil
            }
        }
        #expect(try !pass(helix).isComplete)
        let log = try logged()
        #expect(log.contains("malformed answer to streams"))
        for secret in ["client+secret", "webhook-secret", "token-1"] {
            #expect(!log.contains(secret))
        }
    }

    @Test(
        "the pause that Twitch requests is kept, within bounds",
        arguments: [
            (nil, nil, nil), ("5", nil, 5), ("5", "1000", 5), (nil, "1007", 7), (nil, "900", 0),
            (nil, "99999999999", 120), ("-3", nil, 0), ("999999", nil, 120), ("soon", "1003", 3),
            (nil, "18446744073709551615", 120), ("1e9", "x", nil),
        ] as [(String?, String?, Int?)]
    )
    func pause(_ retryAfter: String?, _ reset: String?, _ seconds: Int?) {
        let answer = APIAnswer(
            status: 429,
            body: [],
            retryAfter: retryAfter,
            rateLimitReset: reset
        )
        let pause = answer.pause(at: WallTime(nanoseconds: 1_000_000_000_000))
        #expect(pause == seconds.map { .seconds($0) })
    }

    @Test("a secret is in no description, mirror or dump")
    func description() {
        let secret = Secret(Array("hidden".utf8))
        var dumped = ""
        dump(secret, to: &dumped)
        #expect(!"\(secret) \(String(reflecting: secret)) \(dumped)".contains("hidden"))
        #expect(!dumped.contains("104"))
    }
}
