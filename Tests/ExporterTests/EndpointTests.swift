import Foundation
import HTTP
import Posix
import TelemetryStage
import Testing

@testable import Exporter

/// What each endpoint answers in each state that an exporter can find.
@Suite("Endpoints")
struct EndpointTests {
    private let files: TelemetryDirectory

    init() throws {
        files = try TelemetryDirectory()
    }

    /// What `/health` and `/livez`, `/readyz`, and `/startupz` say of each.
    static let matrix: [(Scene, live: Int, ready: Int, started: Int)] = [
        (.empty, 200, 503, 200), (.starting, 200, 503, 503), (.recording, 200, 200, 200),
        (.stalled, 200, 200, 200), (.draining, 200, 503, 200), (.stopping, 200, 503, 200),
        (.late, 200, 503, 200), (.hung, 503, 503, 200), (.clean, 200, 503, 200),
        (.degraded, 200, 503, 200), (.killed, 503, 503, 200), (.crashed, 503, 503, 200),
        (.unreadable, 200, 503, 200), (.several, 503, 503, 200), (.hostile, 200, 503, 200),
    ]

    @Test("the table has every state")
    func completeness() {
        #expect(Self.matrix.map(\.0) == Scene.allCases)
    }

    @Test("probes tell the states of the recorder apart", arguments: matrix.indices)
    func probes(_ row: Int) throws {
        let (scene, live, ready, started) = Self.matrix[row]
        let runs = try scene.set(in: files.path)
        var served = try Served(files.path)
        let counters = try Self.requestCounters(&served)
        let expected = [
            "/health": live, "/livez": live, "/readyz": ready, "/startupz": started,
            "/-/healthy": 200, "/-/ready": 200, "/metrics": 200, "/shutdowns": 200, "/": 200,
        ]
        for (path, status) in expected {
            let response = try served.ask(path)
            #expect(response.status.code == status, "\(path): \(response.text)")
            #expect(try served.ask(path, method: "HEAD").status.code == status)
        }
        #expect(try Self.requestCounters(&served) == counters)
        withExtendedLifetime(runs) {}
    }

    /// The series that count requests, without their values.
    private static func requestCounters(_ served: inout Served) throws -> [Substring] {
        try served.ask("/metrics").text.split(separator: "\n")
            .filter { $0.hasPrefix("streamvault_exporter_http_requests_total{") }
            .map { $0.prefix(while: { $0 != " " }) }
    }

    @Test(
        "a bearer token is required for all paths but the probes",
        arguments: ExporterService.routes(metricsPath: .standard).map(\.path)
    )
    func tokens(_ path: String) throws {
        let token = files.path + "/token"
        try Data("secret\n".utf8).write(to: URL(fileURLWithPath: token))
        let probes = [
            "/health", "/livez", "/readyz", "/startupz", "/-/healthy", "/-/ready",
            "/-/terminating",
        ]
        var served = try Served(files.path, ["--web.bearer-token-file", token])
        let refused = try served.ask(path)
        #expect((refused.status == .unauthorized) == !probes.contains(path))
        if refused.status == .unauthorized {
            #expect(refused.header("WWW-Authenticate") == "Bearer")
            #expect(try served.ask(path, method: "POST").status == .unauthorized)
        }
        let allowed = try served.ask(path, ["Authorization: Bearer secret"])
        #expect(allowed.status != .unauthorized)
    }

    @Test("a shutdown past its deadline fails liveness only where the operator says so")
    func pastDeadline() throws {
        let runs = try Scene.late.set(in: files.path)
        var served = try Served(files.path, ["--health.fail-past-deadline"])
        #expect(try served.ask("/health").status.code == 503)
        #expect(try served.ask("/livez").status.code == 503)
        withExtendedLifetime(runs) {}
    }

    @Test("no recorder fails liveness once the startup grace is over")
    func startupGrace() throws {
        var served = try Served(files.path, ["--health.startup-grace=0s"])
        #expect(try served.ask("/health").status.code == 503)
        #expect(
            try served.ask("/livez").text == """
                [+]ping ok
                [-]recorder failed: no recorder has published telemetry yet
                livez check failed

                """
        )
        #expect(try served.ask("/livez/recorder/cam-1").status.code == 503)
        #expect(try served.ask("/startupz").status.code == 200, "the exporter starts first")
    }

    @Test("a directory that cannot be read is no fault of a recorder's")
    func unreadableDirectory() throws {
        let file = files.file("cam-1")
        try Data().write(to: URL(fileURLWithPath: file))
        var served = try Served(file, ["--health.startup-grace=0s"])
        let reason = "telemetry: open \(file): Not a directory (20)"
        for path in ["/health", "/livez", "/livez/recorder/cam-1"] {
            #expect(try served.ask(path).status == .ok, "\(path)")
        }
        #expect(try served.ask("/health").text.contains("\"output\":\"\(reason)\""))
        #expect(try served.ask("/readyz").status == .unavailable)
        #expect(try served.ask("/readyz").text.contains("[-]recorder failed: \(reason)\n"))
        try FileManager.default.removeItem(atPath: file)
        #expect(try served.ask("/health").status == .unavailable, "now there is none")
    }

    @Test(
        "other methods are refused, other paths are not there, and both are counted",
        arguments: [
            ("POST", "/metrics", 405), ("DELETE", "/health", 405), ("PUT", "/livez", 405),
            ("GET", "/nowhere", 404), ("GET", "/livez/nothing", 404), ("GET", "/livezz", 404),
            ("GET", "/metrics/", 404), ("GET", "/health/", 404), ("GET", "//metrics", 404),
        ]
    )
    func refused(_ method: String, _ path: String, _ status: Int) throws {
        var served = try Served(files.path)
        let before = try served.ask("/metrics").text
        let response = try served.ask(path, method: method)
        #expect(response.status.code == status)
        #expect((response.header("Allow") == "GET, HEAD, OPTIONS") == (status == 405))
        let handlers = ExporterService.routes(metricsPath: .standard).map(\.path)
        let handler =
            handlers.first { path == $0 || path.hasPrefix("\($0)/nothing") } ?? "other"
        let labels = "{handler=\"\(handler)\",code=\"\(status)\"}"
        let series = "\nstreamvault_exporter_http_requests_total\(labels)"
        #expect(before.contains("\(series) 0\n"), "a first value of 1 is no increase")
        #expect(try served.ask("/metrics").text.contains("\(series) 1\n"))
    }

    @Test(
        "OPTIONS names the methods of a path, and of the server",
        arguments: ["/metrics", "/livez", "*"]
    )
    func options(_ path: String) throws {
        var served = try Served(files.path)
        let response = try served.ask(path, method: "OPTIONS")
        #expect(response.status == .ok)
        #expect(response.header("Allow") == "GET, HEAD, OPTIONS")
        #expect(response.text.isEmpty)
    }

    @Test("/shutdowns tells how each phase went, also the one that death cut short")
    func shutdowns() throws {
        let runs = try Scene.killed.set(in: files.path)
        var served = try Served(files.path)
        struct Document: Decodable {
            struct Recorder: Decodable { let shutdowns: [Run] }
            struct Run: Decodable {
                let outcome: String
                let graceUsedRatio: Double?
                let abandonedRecordings: Int
                let phases: [Phase]
            }
            struct Phase: Decodable {
                let phase: String
                let outcome: String?
                let startSeconds, durationSeconds, budgetSeconds: Double
            }
            let recorders: [Recorder]
        }
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let document = try decoder.decode(Document.self, from: Data(served.ask("/shutdowns").body))
        let past = document.recorders[0].shutdowns
        #expect(past.map(\.outcome) == ["clean", "crashed", "degraded", "killed", "killed"])
        #expect(past[1].phases.isEmpty && past[1].graceUsedRatio == nil)
        #expect(past[2].phases.map(\.outcome) == ["ok", "timeout", "ok", "error", "timeout", "ok"])
        let last = past[4]
        #expect(last.phases.map(\.outcome).prefix(3) == ["ok", "killed", nil])
        #expect(last.phases[1].durationSeconds.rounded() == 60)
        #expect(last.phases[1].budgetSeconds == 30)
        #expect(last.graceUsedRatio?.rounded() == 1 && last.abandonedRecordings == 2)
        withExtendedLifetime(runs) {}
    }
}
