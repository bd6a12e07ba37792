import Posix
import StreamVaultTelemetry

/// What reading costs, of a segment of the default size with about 210 series.
struct Measurement {
    private let publisher: Publisher
    private let path: String

    init(_ directory: String, _ name: String) {
        let phases = ["signal", "recordings", "broadcaster", "cleanup", "eventsub", "database"]
        guard
            let publisher = try? Publisher(
                directory: directory,
                name: name,
                version: "1.0",
                phases: phases.map { PhaseBudget($0, budget: .seconds(10)) }
            )
        else { fatalError("the name is taken") }
        self.publisher = publisher
        path = "\(directory)/\(name).telemetry"
        for index in 0..<100 {
            publisher.counter("test_total", "Test.", labels: ["n": "\(index)"]).add()
        }
        for index in 0..<8 {
            publisher.histogram("test_seconds", "Test.", labels: ["n": "\(index)"]).observe(1)
        }
    }

    func run() {
        let recording = publisher.startRecording(id: 1, stream: "a", path: "/a", container: "ts")
        var reader = SegmentReader(path: path)
        let rounds = 100_000
        var series = 0
        report("records unchanged", rounds: rounds) {
            recording.wrote(1)
            series += ((try? reader.snapshot())?.contents.series.count ?? 0)
        }
        say("series=\(series / rounds)")
        report("records changed", rounds: 500) {
            publisher.enter(.recording)
            _ = try? reader.snapshot()
        }
        report("first read", rounds: 500) {
            var reader = SegmentReader(path: path)
            _ = try? reader.snapshot()
        }
        report("change of a record", rounds: 20_000) { publisher.enter(.recording) }
        report("bytes written", rounds: 1_000_000) { recording.wrote(1) }
        withExtendedLifetime(publisher) {}
    }

    private func report(_ what: String, rounds: Int, _ body: () -> Void) {
        let start = BootTime.now()
        for _ in 0..<rounds { body() }
        let nanoseconds = BootTime.now().since(start).wholeNanoseconds / UInt64(rounds)
        say("\(what): \(nanoseconds) ns")
    }
}
