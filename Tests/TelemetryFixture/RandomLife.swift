import Glibc
import StreamVaultTelemetry

/// A run of random steps, each journalled before (`> step`) and after (`<`), so that a watcher knows what was done.
struct RandomLife {
    static let phases = ["signal", "recordings", "database"]
    static var capacity: SegmentCapacity {
        var capacity = SegmentCapacity()
        (capacity.families, capacity.series, capacity.words) = (64, 160, 1600)
        capacity.recordings = 4
        return capacity
    }

    private let publisher: Publisher
    private let counter: Counter
    private let histogram: Histogram
    private var random: Random
    private var recordings: [(id: UInt64, publisher: RecordingPublisher)] = []
    private var nextRecording: UInt64 = 1
    private var isStopping = false

    init(_ directory: String, _ name: String, seed: UInt64) {
        random = Random(state: seed)
        publisher = start(directory, name)
        counter = publisher.counter("test_total", "Counts.")
        histogram = publisher.histogram(
            "test_seconds",
            "Observes.",
            bounds: [.nanoseconds(10), .nanoseconds(100)]
        )
    }

    mutating func run() {
        step("enter recording") { $0.publisher.enter(.recording) }
        for _ in 0..<random.below(60) { act() }
        guard random.below(8) > 0 else { return }  // Ends without a goodbye.
        step("shutdown") {
            $0.publisher.beginShutdown(signal: SIGTERM, gracePeriod: .seconds(60))
        }
        isStopping = true
        while !recordings.isEmpty, random.below(4) > 0 { endRecording() }
        for phase in Self.phases.dropFirst() {
            for _ in 0..<10 { act() }
            let outcome = PhaseOutcome.allCases[Int(random.below(3))]
            step("phase \(outcome)") { $0.publisher.beginPhase(phase, after: outcome) }
        }
        step("goodbye ok") { $0.publisher.finish(exitStatus: 0) }
    }

    private mutating func act() {
        switch random.below(7) {
        case 0:
            let amount = random.below(1000)
            step("count \(amount)") { $0.counter.add(amount) }
        case 1:
            let value = random.below(200)
            step("observe \(value)") { $0.histogram.observe(value) }
        case 2:
            let label = "\(random.below(20))"
            step("declare \(label)") {
                $0.publisher.counter("test_labelled_total", "Many.", labels: ["n": label]).add()
            }
        case 3 where recordings.count < Self.capacity.recordings: startRecording()
        case 4 where !recordings.isEmpty:
            recordings[0].publisher.wrote(100)
            step("finalizing") { $0.recordings[0].publisher.finalizing() }
        case 5:
            // Counts nothing, and nearly all of its time goes into writing a record.
            step("rewrite") { life in
                for _ in 0..<20 { life.rewriteLifecycle() }
            }
        default: endRecording()
        }
    }

    private func rewriteLifecycle() {
        if isStopping {
            publisher.beginShutdown(signal: 0, gracePeriod: nil)  // It has begun.
        } else {
            publisher.enter(.recording)
        }
    }

    private mutating func startRecording() {
        let id = nextRecording
        nextRecording += 1
        step("start \(id)") { life in
            let recording = life.publisher.startRecording(
                id: id,
                stream: "stream-\(id % 3)",
                path: "/recordings/\(id).ts",
                container: "ts"
            )
            life.recordings.append((id, recording))
        }
    }

    private mutating func endRecording() {
        guard let recording = recordings.popLast() else { return }
        let result = RecordingResult.allCases[Int(random.below(3))]
        step("end \(result.rawValue)") { _ in recording.publisher.end(result) }
    }

    private mutating func step(_ name: String, _ body: (inout RandomLife) -> Void) {
        say("> \(name)")
        body(&self)
        say("<")
    }
}

/// SplitMix64: the same steps for the same seed.
struct Random {
    var state: UInt64

    mutating func below(_ limit: UInt64) -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ value >> 30) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ value >> 27) &* 0x94D0_49BB_1331_11EB
        return (value ^ value >> 31) % limit
    }
}
