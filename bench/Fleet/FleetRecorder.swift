import Glibc
import Posix
import StreamVaultTelemetry

/// How a recorder of the fleet ends.
enum Ending: String {
    /// Every phase is well.
    case clean
    /// The recordings take more than their budget; one is left behind.
    case degraded
    /// The grace period ends while recordings are still being finalized.
    case killed
    /// It dies without having been asked to stop.
    case crashed
}

/// A recorder with four streams: what it publishes, without the recording.
struct FleetRecorder {
    private static let grace = Duration.seconds(60)
    private static let streams = 4
    private static let diskBytes = 500e9

    private let published: PublishedTemplate
    private var recordings: [RecordingPublisher]
    private var random: UInt64
    private var written: UInt64 = 0
    /// What is still to come of the shutdown, the next step last.
    private var steps: [(at: BootTime, Step)] = []

    private enum Step {
        case end(recording: Int, RecordingResult)
        case phase(String, after: PhaseOutcome)
        case goodbye(PhaseOutcome, exitStatus: Int32)
        case die
    }

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
    var nextStep: BootTime? { steps.last?.at }

    /// What a second of recording changes: media of 6 Mbit/s, more or less, a transaction now and then, the disk.
    mutating func beat() {
        published.publisher.heartbeat()
        guard steps.isEmpty else { return }
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
        guard ending != .crashed else {
            steps = [(now, .die)]
            return
        }
        published.publisher.beginShutdown(signal: SIGTERM, gracePeriod: Self.grace)
        for recording in recordings { recording.finalizing() }
        steps = Array(Self.plan(ending, time, from: now).reversed())
    }

    private static func plan(
        _ ending: Ending,
        _ time: Duration,
        from start: BootTime
    ) -> [(at: BootTime, Step)] {
        var moment = start
        func after(_ duration: Duration, _ step: Step) -> (at: BootTime, Step) {
            moment = moment.advanced(by: duration)
            return (moment, step)
        }
        var steps = [after(.milliseconds(1), .phase("recordings", after: .ok))]
        let finished = ending == .clean ? streams : streams - 1
        for recording in 0..<finished {
            steps.append(after(time / finished, .end(recording: recording, .interrupted)))
        }
        guard ending != .killed else { return steps + [(start.advanced(by: grace), .die)] }
        if ending == .degraded { moment = start.advanced(by: .seconds(30)) }
        let outcome = ending == .degraded ? PhaseOutcome.timeout : .ok
        steps.append(after(.zero, .phase("broadcaster", after: outcome)))
        steps.append(after(.milliseconds(40), .phase("cleanup", after: .ok)))
        steps.append(after(.milliseconds(15), .phase("eventsub", after: .ok)))
        steps.append(after(.milliseconds(230), .phase("database", after: .ok)))
        steps.append(after(.milliseconds(310), .goodbye(.ok, exitStatus: outcome == .ok ? 0 : 1)))
        return steps
    }

    /// Takes the steps that are due; whether the recorder is gone with the last one.
    mutating func goOn(at now: BootTime) -> Bool {
        while let step = steps.last, step.at <= now {
            steps.removeLast()
            take(step.1)
        }
        return steps.isEmpty
    }

    private func take(_ step: Step) {
        switch step {
        case .end(let index, let result):
            recordings[index].end(result)
            published.observe(
                .milliseconds(12),
                in: "streamvault_finalize_duration_seconds"
            )
        case .phase(let name, let outcome): published.publisher.beginPhase(name, after: outcome)
        case .goodbye(let outcome, let status):
            published.publisher.goodbye(outcome, exitStatus: status)
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
