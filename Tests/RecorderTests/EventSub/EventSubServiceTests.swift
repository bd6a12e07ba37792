import Foundation
import HTTP
import Posix
import Testing

@testable import Fetch
@testable import Recorder

@Suite("EventSub switches streams", .timeLimit(.minutes(5)))
struct EventSubServiceTests {
    private let bench: APIBench

    init() throws {
        let broadcaster = TwitchBroadcaster(id: "1337", login: nil)
        bench = try APIBench([
            .packets("gate", broadcaster: broadcaster),
            .packets("low", broadcaster: TwitchBroadcaster(id: nil, login: "cool_user")),
            .packets("other", broadcaster: TwitchBroadcaster(id: "1", login: nil)),
        ])
        bench.roster.open()
    }

    /// A service that asks the bench's catalogue, or `catalogue`; it runs until `end` is called.
    private func service(_ catalogue: Catalogue? = nil) throws -> Running {
        let catalogue = catalogue ?? bench.context.catalogue
        let switchboard = EventSubSwitchboard(bench.roster, bench.metrics, bench.context.log) {
            (id) throws(CatalogueError) in try catalogue.remember(messageID: id)
        }
        let webhook = EventSubWebhook(secret: Secret(Array("s3cRe7".utf8)))
        let service = EventSubService(webhook, switchboard, bench.metrics, bench.context.log)
        return try Running(service: service, bench.context.wakeup)
    }

    private struct Running {
        let service: EventSubService
        let task: BackgroundTask<SystemError>

        init(service: EventSubService, _ wakeup: Wakeup) throws {
            self.service = service
            task = try BackgroundTask(named: "eventsub", wakeup) { () throws(SystemError) in
                service.run()
            }
        }

        func post(_ delivery: Delivery) throws -> Response {
            service.answer(try delivery.request())
        }

        /// Ends it, when all that was acknowledged is done.
        func end() throws {
            service.stop()
            try waitFor("the end of the service") { task.result != nil }
        }
    }

    private func count(_ type: String, _ result: String) throws -> UInt64? {
        try bench.word("streamvault_eventsub_messages_total", [type, result])
    }

    private var phases: [StreamSwitch.Phase] { bench.roster.workers.map(\.phase) }

    @Test("the challenge is given back byte for byte, as text")
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
        try waitFor("two recordings") { bench.roster.active.count == 2 }
        #expect(phases[2] == .off)
        #expect(try running.post(.stream("stream.offline", id: "b")).status == .noContent)
        try waitFor("their end") { bench.roster.workers.allSatisfy(\.hasEnded) }
        try waitFor("its row") { try bench.statuses(of: "gate") == ["completed"] }
        try waitFor("its row") { try bench.statuses(of: "low") == ["completed"] }
        try running.end()
        #expect(try count("stream.online", "accepted") == 1)
        #expect(try count("stream.offline", "accepted") == 1)
        #expect(try count("stream.offline", "duplicate") == 0)
    }

    @Test("a message that comes twice does nothing the second time, also after a restart")
    func duplicates() throws {
        let first = try service()
        let online = Delivery.stream("stream.online", id: "a")
        _ = try first.post(online)
        _ = try first.post(.stream("stream.offline", id: "b"))
        try first.end()
        try waitFor("the end") { bench.roster.workers.allSatisfy(\.hasEnded) }

        // A catalogue opened anew at the same file is all that a restart keeps.
        let again = try service(try Catalogue(path: "\(bench.files.path)/catalogue.sqlite"))
        #expect(try again.post(online).status == .noContent)
        try again.end()
        #expect(try count("stream.online", "duplicate") == 1)
        #expect(phases == [.off, .off, .off])
    }

    @Test("a message that a later one has overtaken does nothing")
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

    @Test("a broadcaster that nobody records is no error")
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
        "while draining an end is heeded and a beginning put off; while stopping both are put off"
    )
    func refusals() throws {
        let running = try service()
        _ = try running.post(.stream("stream.online", id: "a"))
        try waitFor("two recordings") { bench.roster.active.count == 2 }
        bench.drain.begin()
        let online = try running.post(.stream("stream.online", id: "b"))
        #expect(online.status == .unavailable && online.field("Retry-After") == "60")
        #expect(try running.post(.stream("stream.offline", id: "c")).status == .noContent)
        try waitFor("the drain") { bench.roster.isDrained }
        let deadline = BootTime.now().advanced(by: .seconds(10))
        bench.roster.showShutdown(in: .eventsub, deadline: deadline)
        for event in ["stream.online", "stream.offline"] {
            let response = try running.post(.stream(event, id: "d"))
            #expect(response.status == .unavailable && response.field("Retry-After") != nil)
        }
        try running.end()
    }

    @Test("after its end it takes nothing, so that Twitch delivers again")
    func afterTheEnd() throws {
        let running = try service()
        try running.end()
        #expect(try running.post(.stream("stream.online", id: "a")).status == .unavailable)
        #expect(try count("stream.online", "unavailable") == 1)
    }

    @Test("a catalogue that is gone does not cost a recording")
    func noCatalogue() throws {
        let catalogue = try Catalogue(path: "\(bench.files.path)/other.sqlite")
        try catalogue.close(until: BootTime.now().advanced(by: .seconds(10)))
        let running = try service(catalogue)
        _ = try running.post(.stream("stream.online", id: "a"))
        try waitFor("two recordings") { bench.roster.active.count == 2 }
        try running.end()
        try bench.close()
    }

    @Test("as many as a thousand may wait; the next is put off, not lost")
    func longQueue() throws {
        // Nobody works it off.
        let switchboard = EventSubSwitchboard(bench.roster, bench.metrics, bench.context.log) {
            (_) throws(CatalogueError) in true
        }
        let secret = Secret(Array("s3cRe7".utf8))
        let service = EventSubService(
            EventSubWebhook(secret: secret),
            switchboard,
            bench.metrics,
            bench.context.log
        )
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
        service.run()
        #expect(try count("stream.offline", "unavailable") == 1)
        #expect(try count("stream.offline", "stale") == 999)
    }

    @Test("what is refused or malformed is answered in words, and only POST is taken")
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
}
