import Foundation
import HTTP
import Posix
import Testing

@testable import Exporter
@testable import StreamVaultTelemetry

@Suite("Our page, read by what others wrote")
struct OracleTests {
    private let files: TelemetryDirectory

    init() throws {
        files = try TelemetryDirectory()
    }

    private static let python = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("../../.venv/bin/python").standardizedFileURL.path

    /// A page in one state of a life, with everything that is awkward.
    private func page(_ state: (Publisher) -> Void, _ format: ExpositionFormat = .text) throws
        -> [UInt8]
    {
        var publisher: Publisher? = try files.publisher()
        if let publisher {
            let awkward = "a \"quoted\" \\ name\nof two lines, ünïcode"
            publisher.counter("oracle_total", "Help \\ of\ntwo lines.", labels: ["name": awkward])
                .add(3)
            publisher.histogram("oracle_seconds", "Durations.").observe(.milliseconds(1500))
            publisher.gauge("oracle_ratio", "A ratio.", unit: "ratio").set(0.1)
            let recording = publisher.startRecording(
                id: 1,
                stream: "gate",
                path: "/x",
                container: "ts"
            )
            recording.wrote(188)
            state(publisher)
        }
        publisher = nil
        var directory = RecorderDirectory(path: files.path)
        var own = OwnMetrics(version: "1.0", handlers: ["/metrics"])
        own.count(handler: "other", status: .notFound)
        var page = MetricsPage(format)
        let sources = directory.look().map { MetricSource($0) } + [own.source(now: .now())]
        return page.render(sources)
    }

    static let states: [(String, @Sendable (Publisher) -> Void)] = [
        ("crashed", { $0.enter(.recording) }),
        ("killed", { $0.beginShutdown(signal: 15, gracePeriod: .seconds(60)) }),
        (
            "stopped",
            {
                $0.beginShutdown(signal: 15, gracePeriod: .seconds(60))
                $0.beginPhase("database", after: .timeout)
                $0.goodbye(exitStatus: 1)
            }
        ),
    ]

    @Test("promtool has no complaint", arguments: states.indices)
    func promtool(_ index: Int) throws {
        let checked = try run(
            "promtool",
            ["check", "metrics"],
            input: try page(Self.states[index].1)
        )
        #expect(checked.status == 0, "\(Self.states[index].0): \(checked.output)")
        #expect(checked.output.isEmpty, "\(checked.output)")
    }

    @Test("the Python client's strict parser of OpenMetrics takes it", arguments: states.indices)
    func openMetrics(_ index: Int) throws {
        let script = """
            import sys
            from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
            for family in parse(sys.stdin.read()):
                print(family.name, family.type, family.unit, len(family.samples))
            """
        let page = try page(Self.states[index].1, .openMetrics)
        let parsed = try run(Self.python, ["-c", script], input: page)
        #expect(parsed.status == 0, "\(parsed.output)")
        let lines = Set(parsed.output.split(separator: "\n").map(String.init))
        #expect(lines.contains("oracle counter  1"))
        #expect(lines.contains("oracle_ratio gauge ratio 1"))
        #expect(lines.contains("oracle_seconds histogram seconds 24"))
        #expect(lines.contains("streamvault_recorder info  1"))
        #expect(lines.contains("streamvault_recorder_state stateset  8"))
    }

    @Test("the Python client's parser reads the same values", arguments: states.indices)
    func pythonClient(_ index: Int) throws {
        let script = """
            import sys
            from prometheus_client.parser import text_string_to_metric_families as parse
            for family in parse(sys.stdin.read()):
                for sample in family.samples:
                    print(repr((sample.name, sorted(sample.labels.items()), float(sample.value))))
            """
        let parsed = try run(Self.python, ["-c", script], input: try page(Self.states[index].1))
        #expect(parsed.status == 0, "\(parsed.output)")
        let lines = parsed.output.split(separator: "\n").map(String.init)
        #expect(Set(lines).count == lines.count, "no series twice")
        let awkward =
            #"('oracle_total', [('name', 'a "quoted" \\ name\nof two lines, ünïcode'), ('recorder', 'cam')], 3.0)"#
        #expect(lines.contains(awkward))
        #expect(lines.contains("('oracle_seconds_sum', [('recorder', 'cam')], 1.5)"))
        #expect(
            lines.contains("('oracle_seconds_bucket', [('le', '1.0'), ('recorder', 'cam')], 0.0)")
        )
        #expect(
            lines.contains("('oracle_seconds_bucket', [('le', '2.5'), ('recorder', 'cam')], 1.0)")
        )
        let outcome = Self.states[index].0 == "stopped" ? "degraded" : Self.states[index].0
        let label = "('streamvault_last_shutdown_outcome', '\(outcome)')"
        #expect(lines.contains { $0.contains(label) && $0.hasSuffix(", 1.0)") })
    }
}
