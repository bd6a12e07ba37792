import Foundation
import Testing

/// In which order recorder and exporter are told to end.
private enum Order: CaseIterable {
    /// A native sidecar hears of it when the recorder is gone.
    case recorderFirst
    /// Two plain containers of a pod.
    case together
    /// As Compose does without `depends_on`.
    case exporterFirst
    /// The recorder does not survive its shutdown.
    case recorderKilled
}

/// A recorder and an exporter as they share a pod.
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

    /// Tells both to end, or ends them.
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

    /// Every series of the recorder as an exporter shows it that comes later.
    func lastWord() throws -> [[String: String]: Double] {
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
    /// The last value of every series of a recorder, also of one that is gone.
    fileprivate func lastValues(of exporter: Exporter) throws -> [[String: String]: Double] {
        let selector = "{recorder!=\"\", instance=\"127.0.0.1:\(exporter.port)\"}"
        let found = try query("last_over_time(\(selector)[10m])").map { series, value in
            (series.filter { $0.key != "instance" && $0.key != "job" }, value)
        }
        return Dictionary(uniqueKeysWithValues: found)
    }
}

@Suite("The last word of a recorder", .timeLimit(.minutes(10)))
struct LastWordTests {
    @Test("in every order of ends, both Prometheus servers have every series of the final state")
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
            let wanted = try pod.lastWord()
            #expect(wanted.count > 100)
            for (_, prometheus) in pair {
                let found = try prometheus.lastValues(of: pod.exporter)
                let differing = wanted.filter { found[$0.key] != $0.value }
                #expect(differing.isEmpty, "\(pod.order)")
            }
        }
    }
}
