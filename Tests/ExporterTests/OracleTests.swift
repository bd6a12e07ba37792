import Foundation
import HTTP
import Posix
import TelemetryStage
import Testing

@testable import Exporter
@testable import StreamVaultTelemetry

@Suite("Our pages, read by what others wrote", .timeLimit(.minutes(5)))
struct OracleTests {
    private let files: TelemetryDirectory

    init() throws {
        files = try TelemetryDirectory()
    }

    @Test("every state, in every format", arguments: Scene.allCases)
    func states(_ scene: Scene) throws {
        let runs = try scene.set(in: files.path)
        let lines = try Oracle.check(sources())
        let outcome = "('streamvault_last_shutdown_outcome', '\(scene.rawValue)')"
        if scene == .killed || scene == .crashed || scene == .degraded || scene == .clean {
            #expect(lines.contains { $0.contains(outcome) && $0.hasSuffix(", 1.0)") })
        }
        withExtendedLifetime(runs) {}
    }

    @Test("a segment that is damaged while it is watched, in every format")
    func damaged() throws {
        let publisher = try files.publisher("cam")
        publisher.counter("test_total", "Counts.").add(3)
        var directory = RecorderDirectory(path: files.path)
        _ = directory.read()
        let bytes = try Data(contentsOf: URL(fileURLWithPath: files.file("cam")))
        try bytes.prefix(5000).write(to: URL(fileURLWithPath: files.file("cam")))
        let lines = try Oracle.check(sources(&directory))
        #expect(
            lines.contains("('sample', 'streamvault_recorder_up', [('recorder', 'cam')], 0.0)")
        )
        #expect(lines.contains("('sample', 'test_total', [('recorder', 'cam')], 3.0)"))
    }

    @Test("odd names and numbers arrive as they were given, in every format")
    func odd() throws {
        let odd = try OddRecorder(files)
        let lines = try Oracle.check(sources())
        let labels = lines.filter { $0.hasPrefix("('sample', 'test_total'") }
        #expect(labels.count == OddRecorder.labels.count)
        let awkward =
            #"('sample', 'test_total', [('name', 'a "quoted" \\ name\nof two lines, ünïcode'), ('recorder', 'odd')], 3.0)"#
        #expect(labels.contains(awkward))
        withExtendedLifetime(odd) {}
    }

    @Test("families that meet in a name: one of them is shown, in every format")
    func meeting() throws {
        let (one, other) = (try files.publisher("one"), try files.publisher("other"))
        one.histogram("test_wait_seconds", "Waits.").observe(.seconds(1))
        one.gauge("test_wait_seconds_count", "Not how many waits.").set(7)
        other.gauge("test_wait_seconds_bucket", "No bucket.").set(7)
        let shown = try Oracle.check(sources()).filter { $0.contains("'test_wait_seconds_count'") }
        let count = "('sample', 'test_wait_seconds_count', [('recorder', 'one')], 1.0)"
        #expect(shown == [count])
        withExtendedLifetime((one, other)) {}
    }

    @Test(
        "a gauge of a counter's name without _total is shown where OpenMetrics does not make them one"
    )
    func stem() throws {
        let publisher = try files.publisher("one")
        publisher.counter("test_waits_total", "Waits.").add(3)
        publisher.gauge("test_waits", "Now.").set(7)
        let pages = [TextDialect.prometheus, .openMetrics(created: false)].map { dialect in
            var page = TextPage(dialect)
            return String(decoding: page.render(sources()), as: UTF8.self)
        }
        #expect(pages.allSatisfy { $0.contains("test_waits_total{recorder=\"one\"} 3\n") })
        #expect(pages[0].contains("test_waits{recorder=\"one\"} 7\n"))
        #expect(!pages[1].contains("test_waits{"))
        _ = try Oracle.read(Array(pages[1].utf8), as: "openmetrics")
        withExtendedLifetime(publisher) {}
    }

    @Test("a native histogram has the buckets of its schema, and a last one for what is above them")
    func native() throws {
        let odd = try OddRecorder(files)
        var page = ProtobufPage()
        let lines = try Oracle.read(page.render(sources()), as: "protobuf")
        let labels = "[('of', 'work'), ('recorder', 'odd')]"
        // Bucket i reaches to 2^(i/8): 0.001 s is 2^(-79.7/8), and so on; 5000 s is above 2^10.
        let counts = "{-79: 1, 5: 1, 6: 1, 40: 1, 62: 1, 81: 1}"
        #expect(
            lines.contains("('native', 'test_seconds', \(labels), 3, 0.0009765625, 2, \(counts))")
        )
        let idle = "('native', 'test_idle_seconds', [('recorder', 'odd')], 3, 0.0009765625, 0, {})"
        #expect(lines.contains(idle))
        withExtendedLifetime(odd) {}
    }

    @Test("a counter or histogram that was carried from run to run counts since its first run")
    func created() throws {
        let first = try started()
        let second = try started()
        #expect(second > first)
        var page = TextPage(.openMetrics(created: true))
        let lines = try Oracle.read(page.render(sources()), as: "openmetrics")
        for name in ["streamvault_recorder_runs", "streamvault_shutdown_duration_seconds"] {
            let seconds = "\(first / 1_000_000_000).\("\(first)".suffix(9))"
            let expected = try #require(Double(seconds))
            let line = "('sample', '\(name)_created', [('recorder', 'cam')], \(expected))"
            #expect(lines.contains(line), "\(lines.filter { $0.contains(name) })")
        }
    }

    /// Starts a run, which dies at once; when it started, in nanoseconds since 1970.
    private func started() throws -> UInt64 {
        _ = try files.publisher("cam")
        var reader = SegmentReader(path: files.file("cam"))
        return try reader.snapshot().contents.identity.startedWall.nanoseconds
    }

    private func sources() -> [MetricSource] {
        var directory = RecorderDirectory(path: files.path)
        return sources(&directory)
    }

    /// What an exporter would render now.
    private func sources(_ directory: inout RecorderDirectory) -> [MetricSource] {
        var own = ExporterMetrics(
            version: "1.0",
            statuses: [("/metrics", [.ok]), ("/health", [.ok])],
            hasIngest: true
        )
        own.count(handler: "other", status: .notFound)
        return directory.sources() + [own.source(now: .now())]
    }
}

extension RecorderDirectory {
    /// What pages show of the recorders now.
    mutating func sources() -> [MetricSource] {
        var visible = VisibleFamilies()
        let recorders = read()
        visible.decide(recorders)
        return zip(recorders, visible.hiddenIndexes).map { MetricSource($0, hidden: $1) }
    }
}

/// Parsers that others wrote.
enum Oracle {
    private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    /// Not the program that the link leads to: the link is what says where its packages are.
    private static let python =
        folder.deletingLastPathComponent().deletingLastPathComponent().path + "/.venv/bin/python"

    /// Has the page read in every format, which must all say the same, and linted; what it says, line by line.
    static func check(_ sources: [MetricSource]) throws -> Set<String> {
        let plain = text(sources, .prometheus)
        let linted = try run("promtool", ["check", "metrics"], input: plain)
        #expect(linted.status == 0)
        #expect(linted.output.isEmpty, "\(linted.output)")
        var page = ProtobufPage()
        let lines = try read(plain, as: "text")
        let openMetrics = try read(text(sources, .openMetrics(created: false)), as: "openmetrics")
        let dated = try read(text(sources, .openMetrics(created: true)), as: "openmetrics")
        let protobuf = try read(page.render(sources), as: "protobuf")
        let (units, creations) = (dated.filter(isUnit), dated.filter(isCreated))
        #expect(openMetrics.symmetricDifference(lines) == units)
        #expect(dated.symmetricDifference(openMetrics) == creations)
        #expect(protobuf.filter { !$0.hasPrefix("('native'") }.symmetricDifference(dated) == [])
        let counting = lines.filter {
            $0.hasPrefix("('sample'") && ($0.contains("_total'") || $0.contains("_count'"))
        }
        #expect(creations.count == counting.count)
        return lines
    }

    private static func isUnit(_ line: String) -> Bool { line.hasPrefix("('unit'") }

    private static func isCreated(_ line: String) -> Bool { line.contains("_created'") }

    private static func text(_ sources: [MetricSource], _ dialect: TextDialect) -> [UInt8] {
        var page = TextPage(dialect)
        return page.render(sources)
    }

    /// What the Python client or protobuf's own library finds on a page, line by line.
    static func read(_ page: [UInt8], as format: String) throws -> Set<String> {
        let script = folder.appendingPathComponent("Fixtures/read_page.py").path
        let parsed = try run(python, [script, format], input: page)
        #expect(parsed.status == 0, "\(parsed.output)")
        let lines = parsed.output.split(separator: "\n").map(String.init)
        #expect(Set(lines).count == lines.count, "nothing twice")
        return Set(lines)
    }
}
