import Foundation
import Testing

/// The order in which recorder and exporter are stopped.
private enum Order: CaseIterable {
    /// A native sidecar is stopped after the recorder has ended.
    case recorderFirst
    /// Two plain containers of a pod.
    case together
    /// Compose does this without `depends_on`.
    case exporterFirst
    /// The recorder does not survive its shutdown.
    case recorderKilled
}

/// A recorder and its exporter, as in a pod.
private final class Pod {
    let order: Order
    let exporter: Exporter
    private let bench: Workbench
    private let recorder: Recorder

    init(_ order: Order) throws {
        self.order = order
        bench = try Workbench()
        exporter = try bench.startExporter([])
        let file = try bench.makeTransportStream()
        recorder = try bench.startRecorder([TestStream.stubborn("slow", file: file)])
        let recorder = recorder
        try eventually("a recording") {
            try recorder.active().contains("\"stream\":\"slow\"") ? () : nil
        }
    }

    /// Stops or kills both.
    func stop() throws {
        switch order {
        case .recorderFirst:
            recorder.program.signal(SIGTERM)
            _ = try recorder.program.exitStatus()
            exporter.program.signal(SIGTERM)
        case .together:
            recorder.program.signal(SIGTERM)
            exporter.program.signal(SIGTERM)
        case .exporterFirst:
            exporter.program.signal(SIGTERM)
            _ = try exporter.program.line(containing: "Waiting for the recorders to end")
            recorder.program.signal(SIGTERM)
        case .recorderKilled:
            recorder.program.signal(SIGTERM)
            exporter.program.signal(SIGTERM)
            _ = try recorder.program.line(containing: "📁 Finalizing recording files...")
            recorder.program.signal(SIGKILL)
        }
    }

    /// All series of the recorder, as shown by an exporter that starts afterwards.
    func finalState() throws -> [[String: String]: Double] {
        let shown = try bench.startExporter().metrics().map { (labels(of: $0), $1) }
        return Dictionary(uniqueKeysWithValues: shown).filter { $0.key["recorder"] != nil }
    }
}

/// The labels of a series that is written `name{label="value",…}`, with the name as Prometheus has it.
private func labels(of series: String) -> [String: String] {
    var labels = ["__name__": String(series.prefix { $0 != "{" })]
    for label in series.matches(of: /(\w+)="(.*?)"/) { labels[String(label.1)] = String(label.2) }
    return labels
}

extension Prometheus {
    /// The last value of every series of a recorder, even after its end.
    fileprivate func lastValues(of exporter: Exporter) throws -> [[String: String]: Double] {
        let selector = "{recorder!=\"\", instance=\"127.0.0.1:\(exporter.port)\"}"
        let found = try query("last_over_time(\(selector)[10m])").map { series, value in
            (series.filter { $0.key != "instance" && $0.key != "job" }, value)
        }
        return Dictionary(uniqueKeysWithValues: found)
    }
}

@Suite("The final state of a recorder", .timeLimit(.minutes(10)))
struct FinalStateTests {
    @Test("both Prometheus servers of a pair have all of its series, in every order of exits")
    func collected() throws {
        let pods = try Order.allCases.map { try Pod($0) }
        let pair = try (0..<2).map { _ in
            let bench = try Workbench()
            return (bench, try bench.startPrometheus(scraping: pods.map(\.exporter)))
        }
        for pod in pods {
            try eventually("two scrapers") {
                try pod.exporter.metrics()["streamvault_exporter_scrapers"] == 2 ? () : nil
            }
        }
        for pod in pods { try pod.stop() }
        for pod in pods {
            #expect(try pod.exporter.program.exitStatus() == 0, "\(pod.order)")
            let reason = #"reason="final state collected" collected=2 missed=0"#
            #expect(try pod.exporter.verdict() == reason, "\(pod.order)")
            let wanted = try pod.finalState()
            #expect(wanted.count > 100)
            for (_, prometheus) in pair {
                let found = try prometheus.lastValues(of: pod.exporter)
                let differing = wanted.filter { found[$0.key] != $0.value }
                #expect(differing.isEmpty, "\(pod.order)")
            }
        }
    }
}
