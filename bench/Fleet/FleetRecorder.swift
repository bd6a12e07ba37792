import Glibc
import Posix
import StreamVaultTelemetry

/// A recorder with four streams: what it publishes, without the recording.
struct FleetRecorder {
    private static let streams = 4
    private static let diskBytes = 500e9

    private let published: PublishedTemplate
    private var recordings: [RecordingPublisher]
    private var random: UInt64
    private var written: UInt64 = 0
    private var shutdown: ShutdownScript?

    init(_ published: PublishedTemplate, seed: UInt64) {
        self.published = published
        random = seed
        recordings = (1...Self.streams).map { number in
            published.publisher.startRecording(
                id: UInt64(number),
                stream: "stream-\(number)",
                path: "/recordings/stream-\(number)-20261123T104500Z.ts.part",
                container: "ts"
            )
        }
        published.set("streamvault_database_up", to: 1)
        published.set("streamvault_disk_size_bytes", to: Self.diskBytes)
        published.set("streamvault_disk_level", "ample", to: 1)
        published.publisher.enter(.recording)
    }

    /// When the shutdown goes on; `nil` when none is under way.
    var nextStep: BootTime? { shutdown?.nextMoment }

    /// What a second of recording changes: media of 6 Mbit/s, more or less, a transaction now and then, the disk.
    mutating func beat() {
        published.publisher.heartbeat()
        guard shutdown == nil else { return }
        for recording in recordings {
            let bytes = 650_000 + draw(200_000)
            recording.wrote(Int(bytes))
            written += bytes
            published.add(bytes, to: "streamvault_written_bytes_total")
            published.add(1, to: "streamvault_media_segments_total", "written")
        }
        published.set("streamvault_disk_free_bytes", to: Self.diskBytes - Double(written))
        if draw(30) == 0 {
            let duration = Duration.microseconds(Int64(500 + draw(20_000)))
            published.observe(duration, in: "streamvault_database_transaction_duration_seconds")
        }
    }

    mutating func stop(_ ending: Ending, recordings time: Duration, at now: BootTime) {
        let open = recordings.count
        shutdown = ShutdownScript(ending, recordings: time, open: open, from: now)
        guard ending != .crashed else { return }
        published.publisher.beginShutdown(signal: SIGTERM, gracePeriod: ShutdownScript.grace)
        for recording in recordings { recording.finalizing() }
    }

    /// Takes the steps that are due; whether the recorder is gone with the last one.
    mutating func goOn(at now: BootTime) -> Bool {
        while let step = shutdown?.next(at: now) { take(step) }
        return nextStep == nil
    }

    private func take(_ step: ShutdownScript.Step) {
        switch step {
        case .end(let index):
            recordings[index].end(.interrupted)
            published.observe(.milliseconds(12), in: "streamvault_finalize_duration_seconds")
        case .phase(let name, let outcome): published.publisher.beginPhase(name, after: outcome)
        case .goodbye(let status): published.publisher.finish(exitStatus: status)
        case .die: break
        }
    }

    /// Goes as a process does: with the publisher goes the lock that says that it lives.
    consuming func leave() {
        // Nobody else has a handle of it.
        unsafe published.publisher.releaseMemory()
    }

    /// A number below `limit`, the next of a linear congruential series (Knuth's MMIX).
    private mutating func draw(_ limit: UInt64) -> UInt64 {
        random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return (random >> 33) % limit
    }
}
