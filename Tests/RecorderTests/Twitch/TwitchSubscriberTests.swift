import Foundation
import HTTP
import Posix
import Testing

@testable import Fetch
@testable import Recorder

@Suite("Subscriptions at Twitch", .timeLimit(.minutes(5)))
struct TwitchSubscriberTests {
    private let bench: APIBench

    init() throws {
        bench = try APIBench([
            .packets("gate", broadcaster: TwitchBroadcaster(id: "1337", login: nil)),
            .packets("yard", broadcaster: TwitchBroadcaster(id: nil, login: "yard_cam")),
            .packets("roof"),
        ])
        bench.roster.open()
    }

    /// Lets a subscriber speak to `helix` until `isDone`.
    private func run(_ helix: FakeHelix, until isDone: () throws -> Bool) throws {
        helix.start()
        defer { helix.stop() }
        let stop = try StopSignal()
        let subscriber = try subscriber(helix)
        let wakeup = bench.context.wakeup
        let task = try BackgroundTask(named: "twitch", wakeup) { () throws(SystemError) in
            subscriber.run(until: stop)
        }
        try waitFor("what Twitch is asked: \(helix.requests.map(\.target))", isDone)
        stop.request()
        try waitFor("the end of the subscriber") { task.result != nil }
        try bench.close()
    }

    private func subscriber(_ helix: FakeHelix) throws -> TwitchSubscriber {
        let application = TwitchConfiguration.Application(
            clientID: "the-client",
            callback: try #require(URL(string: "https://cam.example/eventsub")),
            api: try #require(URL(string: "\(helix.base)/helix")),
            auth: try #require(URL(string: "\(helix.base)/oauth2/token"))
        )
        let secret = Secret(Array("client+secret&=".utf8))
        return TwitchSubscriber(
            helix: HelixClient(application, clientSecret: secret, bench.context.log),
            callback: application.callback,
            secret: Secret(Array("webhook-secret".utf8)),
            roster: bench.roster,
            log: bench.context.log
        )
    }

    private static let subscriptions = "/helix/eventsub/subscriptions"

    /// The last that is asked of Twitch in a pass.
    private func hasAskedAll(_ helix: FakeHelix) -> Bool {
        !helix.requests("/helix/streams").isEmpty
    }

    @Test("logins become ids, both ends of each stream are subscribed to, as Twitch documents it")
    func documented() throws {
        let helix = try FakeHelix()
        try run(helix) { hasAskedAll(helix) }
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
        let wishes = try helix.requests(Self.subscriptions).map { asked in
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
        #expect(wishes == expected)
    }

    @Test("what is live already is recorded")
    func live() throws {
        let helix = try FakeHelix { asked, _ in
            guard asked.path == "/helix/streams" else { return nil }
            return FakeHelix.json(#"{"data":[{"user_id":"1008","type":"live"},{"user_id":"7"}]}"#)
        }
        try run(helix) { bench.roster.active.contains { $0.bytes > 0 } }
        try waitFor("its row") { try bench.statuses(of: "yard") == ["interrupted"] }
        #expect(try bench.statuses(of: "gate") == [])
    }

    @Test("a subscription that exists is as good as a new one")
    func exists() throws {
        let helix = try FakeHelix { asked, _ in
            asked.path == Self.subscriptions
                ? FakeHelix.json(
                    #"{"error":"Conflict","message":"subscription already exists"}"#,
                    409
                )
                : nil
        }
        try run(helix) { hasAskedAll(helix) }
        #expect(helix.requests(Self.subscriptions).count == 4)
        #expect(try bench.logged().contains("wanted=4 refused=0"))
    }

    @Test("a token that has run out is replaced, once for a request")
    func expired() throws {
        let helix = try FakeHelix { asked, _ in
            let isOld = asked.authorization == "Bearer token-1"
            return asked.path == Self.subscriptions && isOld ? FakeHelix.json("{}", 401) : nil
        }
        try run(helix) { hasAskedAll(helix) }
        #expect(helix.requests("/oauth2/token").count == 2)
        #expect(helix.requests(Self.subscriptions).count == 5)
    }

    @Test("a token that is never taken is an error, not a loop")
    func neverTaken() throws {
        let helix = try FakeHelix { asked, _ in
            asked.path == "/helix/users"
                ? FakeHelix.json(#"{"status":401,"message":"invalid"}"#, 401) : nil
        }
        try run(helix) { try bench.logged().contains("Twitch refused") }
        #expect(helix.requests("/oauth2/token").count == 2)
        #expect(helix.requests("/helix/users").count == 2)
    }

    @Test(
        "what may pass is tried again",
        arguments: [
            { _ in FakeHelix.json("{}", 429, [("Retry-After", "0")]) },
            { now in FakeHelix.json("{}", 429, [("Ratelimit-Reset", "\(now)")]) },
            { _ in FakeHelix.json("{}", 500) }, { _ in FakeHelix.json("<html>", 503) },
        ] as [@Sendable (Int) -> Response]
    )
    func again(_ answer: @escaping @Sendable (Int) -> Response) throws {
        let helix = try FakeHelix { asked, before in
            let now = Int(Date().timeIntervalSince1970)
            return asked.path == "/helix/users" && before < 2 ? answer(now) : nil
        }
        try run(helix) { hasAskedAll(helix) }
        #expect(helix.requests("/helix/users").count == 3)
    }

    @Test("a broadcaster that is refused does not cost the others, nor does an unknown login")
    func refused() throws {
        let helix = try FakeHelix { asked, _ in
            if asked.path == "/helix/users" { return FakeHelix.json(#"{"data":[]}"#) }
            guard asked.path == Self.subscriptions, asked.body.contains("online") else {
                return nil
            }
            return FakeHelix.json(#"{"message":"banned\nlevel=info webhook"}"#, 403)
        }
        try run(helix) { hasAskedAll(helix) }
        #expect(helix.requests(Self.subscriptions).count == 2)
        let log = try bench.logged()
        #expect(log.contains("Twitch knows no such login\" login=yard_cam"))
        #expect(log.contains("HTTP status 403: bannedlevel=info webhook"))
    }

    @Test(
        "an answer that is none ends the pass, in words",
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
                "/helix/users", FakeHelix.json("{}", 302, [("Location", "http://127.0.0.1:1/")]),
                "HTTP status 302"
            ),
            ("/helix/streams", FakeHelix.json("garbage"), "malformed answer to streams"),
        ] as [(String, Response, String)]
    )
    func malformed(_ path: String, _ answer: Response, _ words: String) throws {
        let helix = try FakeHelix { asked, _ in asked.path == path ? answer : nil }
        try run(helix) { try bench.logged().contains(words) }
    }

    @Test("while Twitch is out of reach it is tried again, and the end does not wait for it")
    func outOfReach() throws {
        // Nobody serves it: connections are taken by the kernel, and never answered.
        let helix = try FakeHelix()
        let stop = try StopSignal()
        let subscriber = try subscriber(helix)
        let wakeup = bench.context.wakeup
        let task = try BackgroundTask(named: "twitch", wakeup) { () throws(SystemError) in
            subscriber.run(until: stop)
        }
        #expect(!stop.wait(until: BootTime.now().advanced(by: .milliseconds(200))))
        let asked = BootTime.now()
        stop.request()
        try waitFor("the end of the subscriber") { task.result != nil }
        // Far below the 20 s that a request may take.
        #expect(BootTime.now().since(asked) < .seconds(15))
    }

    @Test("no secret comes into the log, whatever fails")
    func secrets() throws {
        let helix = try FakeHelix { asked, before in
            switch asked.path {
            case "/helix/users" where before == 0: FakeHelix.json("garbage", 500)
            case "/helix/eventsub/subscriptions": FakeHelix.json(#"{"message":"no"}"#, 400)
            case "/helix/streams": FakeHelix.json("garbage")
            default: nil
            }
        }
        try run(helix) { try bench.logged().contains("malformed answer to streams") }
        let log = try bench.logged()
        for secret in ["client+secret", "webhook-secret", "token-1"] {
            #expect(!log.contains(secret))
        }
    }

    @Test(
        "Twitch's wish for a pause is heeded, within bounds",
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

    @Test("a secret shows itself to nobody")
    func description() {
        let secret = Secret(Array("hidden".utf8))
        var dumped = ""
        dump(secret, to: &dumped)
        #expect(!"\(secret) \(String(reflecting: secret)) \(dumped)".contains("hidden"))
        #expect(!dumped.contains("104"))
    }
}
