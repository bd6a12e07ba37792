import Posix
import StreamVaultTelemetry
import TelemetryStage

/// A recorder that publishes whatever is awkward to write down.
struct OddRecorder {
    static let labels = [
        "", " ", "a \"quoted\" \\ name\nof two lines, ünïcode", "\\", "\\n", "\"", "# EOF",
        "{a=\"b\"} 1", "\r", "\t", "le", "a,b=c", "🛑", "\u{2028}", "\u{0}",
        String(repeating: "ä", count: 60),
    ]

    let publisher: Publisher

    init(_ files: TelemetryDirectory) throws {
        publisher = try files.publisher("odd")
        publisher.enter(.recording)
        for (index, label) in Self.labels.enumerated() {
            publisher.counter("test_total", "Help \\ of\n\"two\" lines.", labels: ["name": label])
                .add(UInt64(index) + 1)
            publisher.histogram("test_odd_seconds", "Odd.", labels: ["name": label])
                .observe(.seconds(index))
        }
        let durations = publisher.histogram("test_seconds", "Durations.", labels: ["of": "work"])
        for duration in [0, 0.0004, 0.001, 1.5, 1.6, 30, 200, 5000] {
            durations.observe(.seconds(duration))
        }
        _ = publisher.histogram("test_idle_seconds", "Nothing yet.")
        publisher.gauge("test_ratio", "A ratio.", unit: "ratio").set(0.1)
        publisher.gauge("test_celsius", "A level.", unit: "celsius").set(-12.5e-7)
        publisher.gauge("test_infinite", "Too little.").set(-.infinity)
        publisher.counter("test_large_total", "More than a Double can tell.").add(.max - 1)
        publisher.startRecording(id: 1, stream: "gate", path: "/x", container: "ts").wrote(188)
    }
}
