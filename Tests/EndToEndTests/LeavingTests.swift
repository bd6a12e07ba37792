import Foundation
import Testing

@Suite("The exporter's leave", .timeLimit(.minutes(10)))
struct LeavingTests {
    private let bench: Workbench

    init() throws {
        bench = try Workbench()
    }

    /// An exporter that was scraped once, of a recorder that has ended since.
    private func bereaved(_ flags: [String] = []) throws -> Exporter {
        let exporter = try bench.startExporter(flags)
        let recorder = try bench.startRecorder([])
        try exporter.scrape()
        #expect(try recorder.program.stop() == 0)
        return exporter
    }

    @Test("of three scrapers one stands still and one has died: it waits for neither for long")
    func lostScrapers() throws {
        let exporter = try bench.startExporter([])
        let recorder = try bench.startRecorder([])
        let benches = try (0..<3).map { _ in try Workbench() }
        let prometheis = try benches.map { try $0.startPrometheus(scraping: exporter) }
        for prometheus in prometheis {
            try eventually("a second scrape") {
                try prometheus.value("count_over_time(up[1m])") ?? 0 >= 2 ? () : nil
            }
        }
        #expect(try exporter.metrics()["streamvault_exporter_scrapers"] == 3)
        prometheis[0].program.signal(SIGSTOP)
        defer { prometheis[0].program.kill() }
        prometheis[1].program.kill()
        // Answered after whatever the stopped one had still asked for: its kernel would acknowledge a last word, too.
        _ = try exporter.metrics()
        #expect(try recorder.program.stop() == 0)
        #expect(try exporter.program.stop() == 0)
        let verdict = try exporter.verdict()
        let reason = "final state not collected by all scrapers"
        #expect(verdict == #"reason="\#(reason)" collected=1 missed=2"#)
        try eventually("the last word in the one that is left") {
            try prometheis[2].value("last_over_time(streamvault_recorder_up[1m])") == 0 ? () : nil
        }
    }

    @Test(
        "a scraper that does not come again is awaited within the bounds",
        arguments: [
            (["--linger.max", "1s"], "final state not collected by all scrapers"),
            (["--termination-grace-period", "2s"], "grace period over"),
        ]
    )
    func bounds(_ flags: [String], _ reason: String) throws {
        let exporter = try bereaved(flags)
        #expect(try exporter.program.stop() == 0)
        #expect(try exporter.verdict() == "reason=\"\(reason)\" collected=0 missed=1")
        #expect(
            exporter.program.log.contains(#"msg="Final state not collected" by="127.0.0.1 curl/"#)
        )
    }

    @Test("while it lingers it says so, keeps no connection, and leaves with the one it waits for")
    func lingering() throws {
        let exporter = try bereaved()
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
        let exporter = try bereaved()
        exporter.program.signal(SIGTERM)
        _ = try exporter.program.line(containing: "Waiting for the final state to be collected")
        exporter.program.signal(signal)
        #expect(try exporter.program.exitStatus() == 0)
        #expect(try exporter.verdict() == #"reason="second signal" collected=0 missed=1"#)
    }

    @Test("a recorder that runs on is not waited for, and does not notice")
    func restart() throws {
        let exporter = try bench.startExporter([])
        let recorder = try bench.startRecorder([])
        try exporter.scrape()
        #expect(try exporter.program.stop() == 0)
        let reason = "recorder continues to run"
        #expect(try exporter.verdict() == #"reason="\#(reason)" collected=0 missed=0"#)
        #expect(try recorder.health().status == 200)
    }

    @Test("a preStop hook is answered at once, however often, and ends nothing")
    func hook() throws {
        let exporter = try bench.startExporter(["--termination-grace-period", "60s"])
        for _ in 0..<3 {
            let answer = try get("http://127.0.0.1:\(exporter.port)/-/terminating")
            #expect(answer.status == 200 && answer.body == "ok\n")
        }
        #expect(try get("http://127.0.0.1:\(exporter.port)/-/ready").status == 200)
    }

    @Test("an exporter that nobody asks is never woken, also after the last word was collected")
    func idleness() throws {
        let exporter = try bereaved()
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
