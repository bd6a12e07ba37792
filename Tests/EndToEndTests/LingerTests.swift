import Foundation
import Testing

@Suite("The exit of the exporter", .timeLimit(.minutes(10)))
struct LingerTests {
    private let bench: Workbench

    init() throws {
        bench = try Workbench()
    }

    /// An exporter that was scraped once before its recorder ended.
    private func exporterOfEndedRecorder(_ flags: [String] = []) throws -> Exporter {
        let exporter = try bench.startExporter(flags)
        let recorder = try bench.startRecorder([])
        try exporter.scrape()
        #expect(try recorder.program.stop() == 0)
        return exporter
    }

    @Test("of three scrapers one is stopped and one has died: it does not wait long for either")
    func lostScrapers() throws {
        let exporter = try bench.startExporter([])
        let recorder = try bench.startRecorder([])
        let benches = try (0..<3).map { _ in try Workbench() }
        let servers = try benches.map { try $0.startPrometheus(scraping: exporter) }
        for prometheus in servers {
            try eventually("a second scrape") {
                try prometheus.value("count_over_time(up[1m])") ?? 0 >= 2 ? () : nil
            }
        }
        #expect(try exporter.metrics()["streamvault_exporter_scrapers"] == 3)
        servers[0].program.signal(SIGSTOP)
        defer { servers[0].program.kill() }
        servers[1].program.kill()
        // Answered after a last request of the stopped one, whose kernel would also acknowledge a final state.
        _ = try exporter.metrics()
        #expect(try recorder.program.stop() == 0)
        #expect(try exporter.program.stop() == 0)
        let verdict = try exporter.verdict()
        let reason = "final state not collected by all scrapers"
        #expect(verdict == #"reason="\#(reason)" collected=1 missed=2"#)
        try eventually("the final state in the remaining server") {
            try servers[2].value("last_over_time(streamvault_recorder_up[1m])") == 0 ? () : nil
        }
    }

    @Test(
        "the wait for a scraper that does not return is limited",
        arguments: [
            (["--linger.max", "1s"], "final state not collected by all scrapers"),
            (["--termination-grace-period", "2s"], "grace period over"),
        ]
    )
    func bounds(_ flags: [String], _ reason: String) throws {
        let exporter = try exporterOfEndedRecorder(flags)
        #expect(try exporter.program.stop() == 0)
        #expect(try exporter.verdict() == "reason=\"\(reason)\" collected=0 missed=1")
        #expect(
            exporter.program.log.contains(#"msg="Final state not collected" by="127.0.0.1 curl/"#)
        )
    }

    @Test("while it lingers it logs that, keeps no connection, and exits after the last scraper")
    func lingering() throws {
        let exporter = try exporterOfEndedRecorder()
        #expect(try exporter.metrics()["streamvault_exporter_final_scrape_pending"] == 0)
        exporter.program.signal(SIGTERM)
        let line = try exporter.program.line(
            containing: "Waiting for the final state to be collected"
        )
        #expect(line.contains("at_most=35s scrapers=1 second_signal="), "\(line)")
        #expect(try exporter.metrics()["streamvault_exporter_final_scrape_pending"] == 1)
        let answer = try get("http://127.0.0.1:\(exporter.port)/-/healthy", ["-i"])
        #expect(answer.status == 200 && answer.body.contains("Connection: close\r\n"))
        #expect(exporter.program.isRunning, "a look is no scrape")
        try exporter.scrape()
        #expect(try exporter.program.exitStatus() == 0)
        #expect(try exporter.verdict() == #"reason="final state collected" collected=1 missed=0"#)
    }

    @Test("a second signal ends the wait", arguments: [SIGTERM, SIGINT])
    func secondSignal(_ signal: Int32) throws {
        let exporter = try exporterOfEndedRecorder()
        exporter.program.signal(SIGTERM)
        _ = try exporter.program.line(containing: "Waiting for the final state to be collected")
        exporter.program.signal(signal)
        #expect(try exporter.program.exitStatus() == 0)
        #expect(try exporter.verdict() == #"reason="second signal" collected=0 missed=1"#)
    }

    @Test("it does not wait for a recorder that continues to run, and does not affect it")
    func restart() throws {
        let exporter = try bench.startExporter([])
        let recorder = try bench.startRecorder([])
        try exporter.scrape()
        #expect(try exporter.program.stop() == 0)
        let reason = "recorder continues to run"
        #expect(try exporter.verdict() == #"reason="\#(reason)" collected=0 missed=0"#)
        #expect(try recorder.health().status == 200)
    }

    @Test("a preStop hook is answered at once, any number of times, and ends nothing")
    func hook() throws {
        let exporter = try bench.startExporter(["--termination-grace-period", "60s"])
        for _ in 0..<3 {
            let answer = try get("http://127.0.0.1:\(exporter.port)/-/terminating")
            #expect(answer.status == 200 && answer.body == "ok\n")
        }
        #expect(try get("http://127.0.0.1:\(exporter.port)/-/ready").status == 200)
    }

    @Test("an exporter without requests never wakes up, even after the final state was collected")
    func idleness() throws {
        let exporter = try exporterOfEndedRecorder()
        try exporter.scrape()
        _ = try exporter.program.line(containing: "Final state collected")
        try eventually("three seconds of sleep") {
            let before = try exporter.program.wakeUps()
            sleep(3)
            return try exporter.program.wakeUps() == before ? () : nil
        }
    }
}

extension Program {
    /// How often its threads were given a processor, in all.
    fileprivate func wakeUps() throws -> Int {
        let tasks = "/proc/\(processID)/task"
        return try FileManager.default.contentsOfDirectory(atPath: tasks).reduce(0) { sum, task in
            let status = try String(contentsOfFile: "\(tasks)/\(task)/status", encoding: .utf8)
            return sum
                + status.matches(of: /ctxt_switches:\s+(\d+)/).compactMap { Int($0.1) }.reduce(0, +)
        }
    }
}
