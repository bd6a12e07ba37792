import Foundation
import HTTP
import Posix
import TestSupport
import Testing
import Twitch

@testable import Catalogue
@testable import Fetch
@testable import Recorder

@Suite("Twitch switches streams", .timeLimit(.minutes(5)))
struct TwitchServiceTests {
    private let bench: APIBench

    init() throws {
        let broadcaster = TwitchBroadcaster(id: "1337", login: nil)
        bench = try APIBench([
            .packets("gate", broadcaster: broadcaster),
            .packets("low", broadcaster: TwitchBroadcaster(id: nil, login: "cool_user")),
            .packets("other", broadcaster: TwitchBroadcaster(id: "1", login: nil)),
        ])
        bench.registry.open()
    }

    /// A service with the bench's catalogue, or `catalogue`; it runs until `end` is called.
    private func service(_ catalogue: Catalogue? = nil) throws -> Running {
        try Running(service: try makeService(catalogue), bench.context.wakeup)
    }

    private func makeService(
        _ catalogue: Catalogue? = nil,
        _ subscriptions: Subscriptions? = nil
    ) throws -> TwitchService {
        try TwitchService(
            EventSubWebhook(secret: Secret(Array("s3cRe7".utf8))),
            subscriptions,
            bench.registry,
            catalogue ?? bench.context.catalogue,
            bench.metrics,
            bench.context.log
        )
    }

    private struct Running {
        let service: TwitchService
        let task: BackgroundTask<SystemError>

        init(service: TwitchService, _ wakeup: Wakeup) throws {
            self.service = service
            task = try BackgroundTask(named: "eventsub", wakeup) { () throws(SystemError) in
                service.applyNotifications()
            }
        }

        func post(_ delivery: Delivery) throws -> Response {
            service.answer(try delivery.request())
        }

        /// Ends it when all acknowledged notifications have been applied.
        func end() throws {
            service.stop()
            try waitFor("the end of the service") { task.result != nil }
        }
    }

    private func count(_ type: String, _ result: String) throws -> UInt64? {
        try bench.word("streamvault_eventsub_messages_total", [type, result])
    }

    private var phases: [StreamSwitch.StreamState] { bench.registry.workers.map(\.switchState) }

    @Test("the answer to a challenge is the challenge, byte for byte, as text")
    func challenge() throws {
        let running = try service()
        let now = WallTime.now()
        var delivery = Delivery.challenge
        (delivery.timestamp, delivery.signature) = (now.iso8601, nil)
        let response = try running.post(delivery)
        #expect(response.status == .ok)
        #expect(response.contentType == "text/plain")
        #expect(response.text == "pogchamp-kappa-360noscope-vohiyo")
        try running.end()
        #expect(try count("webhook_callback_verification", "accepted") == 1)
    }

    @Test("online starts all streams of the broadcaster and no other, offline completes them")
    func onlineAndOffline() throws {
        let running = try service()
        #expect(try running.post(.stream("stream.online", id: "a")).status == .noContent)
        try waitFor("two recordings") { bench.registry.active.count == 2 }
        #expect(phases[2] == .off)
        #expect(try running.post(.stream("stream.offline", id: "b")).status == .noContent)
        try waitFor("their end") { bench.registry.workers.allSatisfy(\.hasEnded) }
        try waitFor("its row") { try bench.statuses(of: "gate") == ["completed"] }
        try waitFor("its row") { try bench.statuses(of: "low") == ["completed"] }
        try running.end()
        #expect(try count("stream.online", "accepted") == 1)
        #expect(try count("stream.offline", "accepted") == 1)
        #expect(try count("stream.offline", "duplicate") == 0)
    }

    @Test("a repeated message has no effect, also after a restart")
    func duplicates() throws {
        let first = try service()
        let online = Delivery.stream("stream.online", id: "a")
        _ = try first.post(online)
        _ = try first.post(.stream("stream.offline", id: "b"))
        try first.end()
        try waitFor("the end") { bench.registry.workers.allSatisfy(\.hasEnded) }

        // A catalogue opened anew at the same file is all that a restart keeps.
        let again = try service(try Catalogue(path: "\(bench.files.path)/catalogue.sqlite"))
        #expect(try again.post(online).status == .noContent)
        try again.end()
        #expect(try count("stream.online", "duplicate") == 1)
        #expect(phases == [.off, .off, .off])
    }

    @Test("a message that is older than an applied one has no effect")
    func overtaken() throws {
        let running = try service()
        let earlier = WallTime(nanoseconds: WallTime.now().nanoseconds - 5_000_000_000)
        _ = try running.post(.stream("stream.online", id: "a"))
        _ = try running.post(.stream("stream.offline", id: "b", at: earlier))
        try running.end()
        #expect(phases == [.on, .on, .off])
        #expect(try count("stream.offline", "stale") == 1)
        try bench.close()
    }

    @Test("a revocation is counted")
    func revocation() throws {
        let running = try service()
        let body = #"{"subscription":{"type":"stream.online","status":"authorization_revoked"}}"#
        let delivery = Delivery(timestamp: WallTime.now().iso8601, kind: "revocation", body: body)
        #expect(try running.post(delivery).status == .noContent)
        try running.end()
        #expect(try count("revocation", "accepted") == 1)
    }

    @Test("a broadcaster without a stream is not an error")
    func strangers() throws {
        let running = try service()
        #expect(try running.post(.stream("stream.online", "42", id: "a")).status == .noContent)
        #expect(try running.post(.stream("channel.update", id: "b")).status == .noContent)
        try running.end()
        #expect(phases[0] == .off && phases[2] == .off)
        #expect(try count("other", "ignored") == 1)
        try bench.close()
    }

    @Test(
        "while draining an end is accepted and a beginning refused; while stopping both are refused"
    )
    func refusals() throws {
        let running = try service()
        _ = try running.post(.stream("stream.online", id: "a"))
        try waitFor("two recordings") { bench.registry.active.count == 2 }
        bench.registry.drain(bench.context)
        let online = try running.post(.stream("stream.online", id: "b"))
        #expect(online.status == .unavailable && online.field("Retry-After") == "60")
        #expect(try running.post(.stream("stream.offline", id: "c")).status == .noContent)
        try waitFor("the drain") { bench.registry.isDrained }
        let deadline = BootTime.now().advanced(by: .seconds(10))
        bench.registry.showShutdown(in: .eventsub, deadline: deadline)
        for event in ["stream.online", "stream.offline"] {
            let response = try running.post(.stream(event, id: "d"))
            #expect(response.status == .unavailable && response.field("Retry-After") != nil)
        }
        try running.end()
    }

    @Test("a stopped service refuses deliveries, so that Twitch repeats them")
    func afterTheEnd() throws {
        let running = try service()
        try running.end()
        #expect(try running.post(.stream("stream.online", id: "a")).status == .unavailable)
        #expect(try count("stream.online", "unavailable") == 1)
    }

    @Test("a closed catalogue does not cost a recording")
    func noCatalogue() throws {
        let catalogue = try Catalogue(path: "\(bench.files.path)/other.sqlite")
        try catalogue.close(until: BootTime.now().advanced(by: .seconds(10)))
        let running = try service(catalogue)
        _ = try running.post(.stream("stream.online", id: "a"))
        try waitFor("two recordings") { bench.registry.active.count == 2 }
        try running.end()
        try bench.close()
    }

    @Test("a thousand deliveries may wait; the next is refused, to be delivered again")
    func longQueue() throws {
        // Without a thread that applies them.
        let service = try makeService()
        var delivery = Delivery.stream("stream.offline", id: "a")
        delivery.signature = try eventSubSignature(
            delivery.secret,
            delivery.id + delivery.timestamp + delivery.body
        )
        let request = try delivery.request()
        for _ in 0..<1000 { #expect(service.answer(request).status == .noContent) }
        let late = service.answer(request)
        #expect(late.status == .unavailable && late.field("Retry-After") == "10")
        service.stop()
        service.applyNotifications()
        #expect(try count("stream.offline", "unavailable") == 1)
        #expect(try count("stream.offline", "duplicate") == 999)
    }

    @Test("a refusal names its reason, and only POST is accepted")
    func answers() throws {
        let running = try service()
        var forged = Delivery.stream("stream.online", id: "a")
        forged.secret = "wrong"
        let response = try running.post(forged)
        #expect(response.status == .forbidden && response.text.contains("signature"))
        let get = try #require(request("GET", "/eventsub"))
        #expect(running.service.answer(get).status == .methodNotAllowed)
        try running.end()
        #expect(phases == [.off, .off, .off])
        #expect(try count("unverified", "refused") == 1)
    }

    @Test("streams of broadcasters that are live at the start are recorded")
    func live() throws {
        let helix = try FakeHelix { asked, _ in
            guard asked.path == "/helix/streams" else { return nil }
            return FakeHelix.json(#"{"data":[{"user_id":"1337","type":"live"}]}"#)
        }
        helix.start()
        defer { helix.stop() }
        let subscriptions = Subscriptions(
            bench.registry.workers.compactMap(\.stream.broadcaster),
            TwitchSettings.Application(
                clientID: "the-client",
                callback: try #require(URL(string: "https://cam.example/eventsub")),
                api: try #require(URL(string: "\(helix.base)/helix")),
                auth: try #require(URL(string: "\(helix.base)/oauth2/token"))
            ),
            clientSecret: Secret(Array("client-secret".utf8)),
            secret: Secret(Array("webhook-secret".utf8)),
            userAgent: "test",
            bench.context.log
        )
        let service = try makeService(nil, subscriptions)
        let task = try BackgroundTask(named: "twitch", bench.context.wakeup) {
            () throws(SystemError) in
            service.keepSubscriptions()
        }
        try waitFor("a recording") { bench.registry.active.contains { $0.bytes > 0 } }
        service.stop()
        try waitFor("the end of the subscriptions") { task.result != nil }
        #expect(phases == [.on, .off, .off])
        try bench.close()
    }
}
