import Foundation
import HTTP
import Posix
import StreamVaultTelemetry
import TestSupport
import Testing

@testable import Recorder

@Suite("The recorder's API", .timeLimit(.minutes(5)))
struct RecorderAPITests {
    private let authorized: KeyValuePairs = ["Authorization": "Bearer \(APIBench.token)"]

    private func post(_ api: RecorderAPI, _ path: String) throws -> Response {
        api.respond(to: try #require(request("POST", path, authorized)))
    }

    private func get(_ api: RecorderAPI, _ path: String) throws -> Response {
        api.respond(to: try #require(request("GET", path)))
    }

    private func fields(_ response: Response) throws -> [String: Any] {
        let value = try JSONSerialization.jsonObject(with: Data(response.body))
        return try #require(value as? [String: Any])
    }

    @Test("a stream is started and stopped, and a repeated request changes nothing")
    func startAndStop() throws {
        let bench = try APIBench([.packets("gate")])
        let api = bench.api()
        bench.registry.open()
        #expect(try post(api, "/api/recording/stop/gate").status == .ok)

        let started = try post(api, "/api/recording/start/gate")
        #expect(started.status == .accepted)
        #expect(try fields(started)["changed"] as? Bool == true)
        let again = try post(api, "/api/recording/start/gate")
        #expect(again.status == .ok)
        #expect(try fields(again)["changed"] as? Bool == false)
        try waitFor("a recording") { bench.registry.active.contains { $0.bytes > 0 } }
        let gate = try fields(try get(api, "/api/status/recordings-active"))
        #expect(gate["has_active_recordings"] as? Bool == true)
        #expect(gate["active_count"] as? Int == 1)
        #expect(gate["safe_to_update"] as? Bool == false)
        #expect(gate["active_streams"] as? [String] == ["gate"])

        #expect(try post(api, "/api/recording/stop/g%61te").status == .accepted)
        try waitFor("the end") { bench.registry.workers[0].hasEnded }
        try waitFor("its row") { try bench.statuses(of: "gate") == ["completed"] }
        #expect(try get(api, "/api/recording/active").text == "[]\n")
        let idle = try fields(try get(api, "/api/status/recordings-active"))
        #expect(idle["safe_to_update"] as? Bool == true)

        #expect(try post(api, "/api/recording/start/gate").status == .accepted)
        try waitFor("another recording") { bench.registry.active.count == 1 }
        try bench.close()
        try waitFor("its row") { try bench.statuses(of: "gate") == ["completed", "interrupted"] }
    }

    @Test("a start right after a stop takes effect when the stop is complete")
    func restart() throws {
        let bench = try APIBench([.packets("gate")])
        let api = bench.api()
        bench.registry.open()
        _ = try post(api, "/api/recording/start/gate")
        for count in 1...3 {
            try waitFor("recording \(count)") { try bench.statuses(of: "gate").count == count }
            #expect(try post(api, "/api/recording/stop/gate").status == .accepted)
            let again = try fields(try post(api, "/api/recording/start/gate"))
            #expect(again["state"] as? String == "on")
        }
        try waitFor("the last of them") { try bench.statuses(of: "gate").count == 4 }
        try bench.close()
        let statuses = ["completed", "completed", "completed", "interrupted"]
        try waitFor("their rows") { try bench.statuses(of: "gate") == statuses }
    }

    @Test("before the streams have started, their state is unavailable and a start is refused")
    func starting() throws {
        let bench = try APIBench([.packets("gate")])
        let api = bench.api()
        for path in ["/api/recording/active", "/api/status/recordings-active"] {
            let response = try get(api, path)
            #expect(response.status == .unavailable)
            #expect(response.field("Retry-After") == "1")
        }
        #expect(try post(api, "/api/recording/start/gate").status == .unavailable)
        let health = try get(api, "/health")
        #expect(health.status == .ok)
        #expect(try fields(health)["status"] as? String == "starting")
    }

    @Test("without a heartbeat /health fails, but never during a shutdown")
    func hung() throws {
        let bench = try APIBench([.packets("gate")])
        var api = bench.api()
        bench.registry.open()
        #expect(try get(api, "/health").status == .ok)
        api.heartbeatTimeout = .nanoseconds(1)
        try waitFor("some silence") { bench.context.status.silence > .nanoseconds(1) }
        let hung = try get(api, "/health")
        #expect(hung.status == .unavailable)
        #expect(try fields(hung)["status"] as? String == "hung")
        #expect(try #require(fields(hung)["seconds_since_heartbeat"] as? Double) > 0)
        bench.registry.drain(bench.context)
        #expect(try get(api, "/health").status == .unavailable)
        let deadline = BootTime.now().advanced(by: .seconds(3000))
        bench.registry.showShutdown(in: .recordings, deadline: deadline)
        #expect(try get(api, "/health").status == .ok)
    }

    @Test("while stopping, changes are refused with Retry-After, and everything else is answered")
    func stopping() throws {
        let bench = try APIBench([.packets("gate")])
        let api = bench.api()
        bench.registry.open()
        _ = try post(api, "/api/recording/start/gate")
        try waitFor("a recording") { bench.registry.active.count == 1 }
        let deadline = BootTime.now().advanced(by: .seconds(3000))
        bench.registry.showShutdown(in: .recordings, deadline: deadline)
        for path in ["/api/recording/start/gate", "/api/recording/stop/gate", "/api/drain"] {
            let response = try post(api, path)
            #expect(response.status == .unavailable, "\(path)")
            #expect(Int(response.field("Retry-After") ?? "") ?? 0 > 0)
        }
        #expect(try get(api, "/api/recording/active").text.contains("\"stream\":\"gate\""))
        let health = try fields(try get(api, "/health"))
        #expect(health["status"] as? String == "stopping")
        #expect(health["phase"] as? String == "recordings")
        #expect(try #require(health["seconds_left"] as? Double) > 2000)
        try bench.close()
    }

    @Test("a drain starts nothing, stops streams that wait for media, and lets recordings continue")
    func draining() throws {
        let bench = try APIBench([.packets("gate"), .silence("yard"), .packets("roof")])
        let api = bench.api()
        bench.registry.open()
        _ = try post(api, "/api/recording/start/gate")
        _ = try post(api, "/api/recording/start/yard")
        try waitFor("a recording") { bench.registry.active.contains { $0.bytes > 0 } }
        #expect(try post(api, "/api/drain").status == .accepted)
        #expect(try post(api, "/api/drain").status == .accepted)
        #expect(try fields(try get(api, "/health"))["status"] as? String == "draining")
        let refused = try post(api, "/api/recording/start/roof")
        #expect(refused.status == .unavailable)
        #expect(refused.field("Retry-After") == "60")
        try waitFor("the end of the waiting") { bench.registry["yard"]?.hasEnded == true }
        #expect(bench.registry.active.count == 1)
        #expect(!bench.registry.isDrained)
        #expect(try post(api, "/api/recording/stop/gate").status == .accepted)
        try waitFor("the end of the drain") { bench.registry.isDrained }
        try waitFor("its row") { try bench.statuses(of: "gate") == ["completed"] }
    }

    @Test(
        "a request without the token, or with another one, changes nothing",
        arguments: [
            ([:], 401), (["Authorization": "Bearer a-toke"], 401),
            (["Authorization": "Bearer a-token2"], 401), (["Authorization": "Basic a-token"], 401),
            (["Authorization": "bearer a-token"], 202),
        ] as [(KeyValuePairs<String, String>, Int)]
    )
    func token(_ fields: KeyValuePairs<String, String>, _ status: Int) throws {
        let bench = try APIBench([.silence("gate")])
        bench.registry.open()
        let post = try #require(request("POST", "/api/recording/start/gate", fields))
        #expect(bench.api().respond(to: post).status.code == status)
        #expect(bench.registry.workers[0].hasEnded == (status != 202))
        try bench.close()
    }

    @Test("wrong tokens are counted, and logged once in ten minutes")
    func wrongTokens() throws {
        let bench = try APIBench([.silence("gate")])
        bench.registry.open()
        let api = bench.api()
        let name = "streamvault_wrong_tokens_total"
        #expect(try bench.word(name) == 0)
        for fields in [["Authorization": "Bearer x"], [:], ["Authorization": "Bearer y"]]
            as [KeyValuePairs<String, String>]
        {
            let post = try #require(request("POST", "/api/drain", fields))
            #expect(api.respond(to: post).status == .unauthorized)
        }
        #expect(try bench.word(name) == 2)
        let log = try bench.logged()
        #expect(log.split(separator: "\n").count { $0.contains("Wrong bearer token") } == 1)
        #expect(!log.contains("Bearer x"))
        try bench.close()
    }

    @Test(
        "without a token in the configuration, requests that change something are refused with the reason"
    )
    func noToken() throws {
        let bench = try APIBench([.silence("gate")])
        bench.registry.open()
        let api = bench.api(token: nil)
        for path in ["/api/recording/start/gate", "/api/recording/stop/gate", "/api/drain"] {
            let response = try post(api, path)
            #expect(response.status == .forbidden)
            #expect(response.text.contains("bearer_token_file"))
        }
        #expect(bench.registry.workers[0].hasEnded)
    }

    @Test("on a full disk a start is refused, unless the stream is on")
    func noRoom() throws {
        let bench = try APIBench([.silence("gate"), .silence("yard")])
        bench.registry.open()
        _ = try post(bench.api(), "/api/recording/start/yard")
        bench.context.status.disk = .full
        let full = bench.api()
        let refused = try post(full, "/api/recording/start/gate")
        #expect(refused.status == .insufficientStorage)
        #expect(refused.field("Retry-After") == "60")
        #expect(try post(full, "/api/recording/start/yard").status == .ok)
        #expect(try post(full, "/api/recording/stop/yard").status == .accepted)
        try bench.close()
    }

    @Test(
        "each route accepts its methods and paths only",
        arguments: [
            ("GET", "/api/recording/start/gate", 405), ("DELETE", "/api/recording/stop/gate", 405),
            ("GET", "/api/drain", 405), ("POST", "/health", 405), ("POST", "/ws", 405),
            ("POST", "/api/recording/active", 405), ("HEAD", "/api/recording/active", 200),
            ("GET", "/api/status/recordings-active?x=%00", 200), ("GET", "/ws", 426),
            ("POST", "/api/recording/start/", 404), ("POST", "/api/recording/start", 404),
            ("POST", "/api/recording/start/gate/", 404), ("POST", "/api/recording/go/gate", 404),
            ("POST", "/api/recording/start/%67ate", 202),
            ("POST", "/api/recording/stop/gate%00", 404),
            ("POST", "/api/recording/start/%2e%2e%2fgate", 404),
            ("POST", "/api/recording/start/\(String(repeating: "a", count: 4000))", 404),
            ("POST", "/api/recording/start/%FF%FE", 404), ("POST", "/api/recording/start/%zz", 404),
            ("GET", "//health", 404), ("GET", "/Health", 404), ("POST", "/eventsub", 404),
        ] as [(String, String, Int)]
    )
    func routes(_ method: String, _ path: String, _ status: Int) throws {
        let bench = try APIBench([.silence("gate")])
        bench.registry.open()
        let response = bench.api().respond(to: try #require(request(method, path, authorized)))
        #expect(response.status.code == status)
        #expect(response.body.count < 1000)
        if status == 405 { #expect(response.field("Allow") != nil) }
        try bench.close()
    }
}
