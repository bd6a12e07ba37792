import Glibc
import StreamVaultTelemetry

/// A recorder in mid-work, without the work: what an exporter's cost is measured on.
struct Fixture {
    /// How much it publishes, as the number of series on an exporter's page.
    enum Size: String {
        /// About 210: two phases, one recording.
        case small
        /// About 370: six phases, eight recordings.
        case full
        /// About 10,000, most of them counters that stand still.
        case large
        /// As many, and all of those counters differ from one scrape to the next.
        case moving
    }

    private static let errorReasons = ["timeout", "file_locked", "no_space", "permission", "io"]

    private let publisher: Publisher
    private let recordings: [RecordingPublisher]
    private let counters: [Counter]
    private let isMoving: Bool

    init(directory: String, size: Size) throws {
        publisher = try Self.run(directory, size)
        Self.fill(publisher)
        recordings = (1...size.recordings).map { [publisher] in
            publisher.startRecording(
                id: UInt64($0),
                stream: "stream-\($0)",
                path: "/recordings/stream-\($0)/2026-07-14_20-15-00.ts.part",
                container: "ts"
            )
        }
        counters = Self.count(publisher, families: size.counterFamilies)
        isMoving = size == .moving
        publisher.enter(.recording)
    }

    /// Writes on, once a second, as a recorder does.
    func publishForever() -> Never {
        print("running")
        fflush(nil)
        while true {
            publisher.heartbeat()
            for recording in recordings { recording.wrote(750_000) }
            if isMoving { moveForASecond() } else { sleep(1) }
        }
    }

    /// Adds to every counter, more often than anyone can scrape.
    private func moveForASecond() {
        for _ in 0..<5000 {
            for counter in counters { counter.add(1) }
            usleep(150)
        }
    }
}

extension Fixture.Size {
    fileprivate var phases: [PhaseBudget] {
        let all = ["recordings", "database", "signal", "broadcaster", "cleanup", "eventsub"]
        return all.prefix(self == .small ? 2 : 6).map { PhaseBudget($0, budget: .seconds(10)) }
    }

    fileprivate var recordings: Int { self == .small ? 1 : 8 }

    fileprivate var counterFamilies: Int {
        switch self {
        case .small, .full: 0
        case .large, .moving: 40
        }
    }

    fileprivate var capacity: SegmentCapacity {
        var capacity = SegmentCapacity()
        guard counterFamilies > 0 else { return capacity }
        (capacity.series, capacity.words) = (16_384, 16_384)
        return capacity
    }
}

extension Fixture {
    /// A run that has ended in a shutdown, for the next one to count on from.
    static func endedRun(directory: String, size: Size) throws {
        let publisher = try run(directory, size)
        publisher.beginShutdown(signal: SIGTERM, gracePeriod: .seconds(60))
        for phase in size.phases.dropFirst() { publisher.beginPhase(phase.name) }
        publisher.finish(exitStatus: 0)
    }

    private static func run(_ directory: String, _ size: Size) throws -> Publisher {
        try Publisher(
            directory: directory,
            name: "bench",
            version: "1.0.0",
            phases: size.phases,
            capacity: size.capacity
        )
    }

    private static func count(_ publisher: Publisher, families: Int) -> [Counter] {
        (0..<families).flatMap { family in
            (0..<241).map { item in
                let counter = publisher.counter(
                    "bench_items_\(family)_total",
                    "Counted for the benchmark.",
                    labels: ["item": "item-\(item)"]
                )
                counter.add(1_000_000_000)  // Wide enough to keep its width.
                return counter
            }
        }
    }

    /// The families that the recorder itself counts into, with the label values that are known at the start.
    private static func fill(_ publisher: Publisher) {
        count(publisher, "streamvault_written_bytes_total", 8_123_456_789)
        count(
            publisher,
            "streamvault_media_segments_total",
            "result",
            ["written", "gap", "failed"]
        )
        count(
            publisher,
            "streamvault_playlist_errors_total",
            "reason",
            ["http", "timeout", "parse"]
        )
        count(
            publisher,
            "streamvault_finalize_errors_total",
            "reason",
            errorReasons + ["invalid_media", "other"]
        )
        count(
            publisher,
            "streamvault_recovered_recordings_total",
            "result",
            ["published", "truncated", "discarded"]
        )
        count(publisher, "streamvault_database_errors_total", "reason", ["busy", "io", "other"])
        for type in ["stream.online", "stream.offline"] {
            for result in ["accepted", "duplicate", "rejected"] {
                publisher.counter(
                    "streamvault_eventsub_messages_total",
                    "EventSub messages received.",
                    labels: ["type": type, "result": result]
                ).add(7)
            }
        }
        observe(publisher, "streamvault_finalize_duration_seconds")
        observe(publisher, "streamvault_database_transaction_duration_seconds")
        set(publisher, "streamvault_websocket_clients", "", 3)
        set(publisher, "streamvault_disk_free_bytes", "bytes", 123_456_789_504)
        set(publisher, "streamvault_disk_size_bytes", "bytes", 499_963_174_912)
    }

    private static func count(_ publisher: Publisher, _ name: String, _ amount: UInt64) {
        publisher.counter(name, "Counted by the recorder.").add(amount)
    }

    private static func count(
        _ publisher: Publisher,
        _ name: String,
        _ label: String,
        _ values: [String]
    ) {
        for value in values {
            publisher.counter(name, "Counted by the recorder.", labels: [label: value]).add(42)
        }
    }

    private static func observe(_ publisher: Publisher, _ name: String) {
        let histogram = publisher.histogram(name, "How long it took.")
        for value in Durations(count: 1000).values { histogram.observe(value) }
    }

    private static func set(
        _ publisher: Publisher,
        _ name: String,
        _ unit: String,
        _ value: Double
    ) {
        publisher.gauge(name, "As it is now.", unit: unit).set(value)
    }
}
