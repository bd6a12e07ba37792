import Posix
import StreamVaultTelemetry

/// How a recorder is, in words.
struct RecorderWords {
    let tone: Tone
    /// For its badge.
    let word: String
    /// What follows its name in a sentence, such as `is recording`; without numbers, so that it changes rarely.
    let predicate: String
    /// The rest that an operator has to know, in whole sentences.
    let detail: String

    /// Media that is this late is worth a word; segments of live streams last up to ten seconds.
    static let stall = Duration.seconds(30)

    /// `now` is for what was long ago, perhaps in another boot.
    init(_ known: KnownRecorder, now: WallTime) {
        if let failure = known.failure {
            let rest = known.snapshot == nil ? "" : " What follows is what was read last."
            self.init(
                .warn,
                "unreadable",
                "cannot be read",
                "Its telemetry cannot be read: \(failure).\(rest)"
            )
        } else if let snapshot = known.snapshot {
            self.init(snapshot, now: now)
        } else {
            self.init(.quiet, "unknown", "has not been read yet", "")
        }
    }

    private init(_ snapshot: Snapshot, now: WallTime) {
        switch snapshot.verdict {
        case .alive: self.init(alive: snapshot)
        case .hung:
            let silence = PageText.age(snapshot.takenAt.since(snapshot.heartbeat))
            let detail = "No heartbeat for \(silence), but its process lives."
            self.init(.bad, "hung", "hangs", detail)
        case .ended(let end): self.init(end, snapshot, now: now)
        }
    }

    private init(alive snapshot: Snapshot) {
        let count = snapshot.contents.recordings.count
        switch snapshot.contents.lifecycle.state {
        case .starting:
            let age = PageText.age(snapshot.takenAt.since(snapshot.contents.identity.startedBoot))
            self.init(.busy, "starting", "is starting", "It was started \(age) ago.")
        case .recording where count == 0:
            self.init(.well, "ready", "is ready", "No stream is being recorded.")
        case .recording: self.init(recording: snapshot)
        case .draining:
            let detail = "It takes no new recordings, and ends \(Self.end(of: count))."
            self.init(.busy, "draining", "is draining", detail)
        case .stopping, .stopped:
            let story = ShutdownStory(snapshot.contents.lifecycle, now: snapshot.takenAt)
            self.init(stopping: story, open: count)
        }
    }

    private static func end(of count: Int) -> String {
        guard count > 0 else { return "now" }
        return "when \(PageText.count(count, "recording")) \(count == 1 ? "has" : "have") ended"
    }

    private init(recording snapshot: Snapshot) {
        let recordings = snapshot.recordings
        let stalled = recordings.filter { $0.isStalled(at: snapshot.takenAt) }
        let count = PageText.count(recordings.count, "stream")
        guard let first = stalled.first else {
            self.init(.well, "recording", "is recording", "\(count), all writing.")
            return
        }
        let silence = PageText.age(snapshot.takenAt.since(first.lastWrite))
        let others = stalled.count == 1 ? "" : ", nor have \(stalled.count - 1) others"
        self.init(
            .warn,
            "stalled",
            "is recording, but not all of it",
            "\(count). \(first.recording.stream) has written nothing for \(silence)\(others)."
        )
    }

    private init(stopping story: ShutdownStory, open count: Int) {
        let running = story.steps.first { $0.state == .running }
        let phase = running.map { "In the phase \($0.name)" } ?? "Between two phases"
        let open = PageText.count(count, "recording") + " open"
        guard story.overrun == .zero else {
            let late = PageText.age(story.overrun)
            self.init(
                .warn,
                "past its deadline",
                "is shutting down, past its deadline",
                "\(phase), \(late) beyond the grace period: it may be killed at any moment, with \(open)."
            )
            return
        }
        self.init(.busy, "shutting down", "is shutting down", "\(phase); \(open).")
    }

    private init(_ end: RunEnd, _ snapshot: Snapshot, now: WallTime) {
        guard let run = snapshot.past else {
            self.init(.quiet, "stopped", "has stopped", "")
            return
        }
        let ago = "\(PageText.age(run.age(at: now))) ago"
        let lost = run.abandonedSentence
        switch end {
        case .clean:
            self.init(.well, "stopped", "has stopped", "It ended by itself \(ago); all is well.")
        case .degraded where run.lifecycle.failedWithoutShutdown:
            let status = run.lifecycle.exitStatus
            let detail = "It exited \(ago) with status \(status), without a shutdown: see its log."
            self.init(.warn, "failed", "has failed to start, or to run on", "\(detail) \(lost)")
        case .degraded:
            let detail = "It ended by itself \(ago), but \(run.flaws). \(lost)"
            self.init(.warn, "degraded", "has stopped, not cleanly", detail)
        case .killed:
            let phase = run.fatalPhase.map { "in the phase \($0.name)" } ?? "between two phases"
            let detail = "It died \(ago) while shutting down, \(phase). \(lost)"
            self.init(.bad, "killed", "was killed", detail)
        case .crashed:
            self.init(.bad, "crashed", "has crashed", "It died \(ago) without a shutdown. \(lost)")
        }
    }

    private init(_ tone: Tone, _ word: String, _ predicate: String, _ detail: String) {
        (self.tone, self.word, self.predicate, self.detail) = (tone, word, predicate, detail)
    }
}

extension RecordingProgress {
    func isStalled(at now: BootTime) -> Bool {
        recording.state == .recording && now.since(lastWrite) > RecorderWords.stall
    }
}

extension PastRun {
    /// Since its last sign of life.
    func age(at now: WallTime) -> Duration {
        let end = wall(lastSeen).nanoseconds
        return .nanoseconds(now.nanoseconds > end ? now.nanoseconds - end : 0)
    }

    fileprivate var abandonedSentence: String {
        switch abandoned {
        case 0: "No recording was open."
        case 1: "1 recording was abandoned."
        default: "\(abandoned) recordings were abandoned."
        }
    }

    /// What was not right about an end by itself.
    fileprivate var flaws: String {
        let steps = ShutdownStory(self)?.steps ?? []
        let late = steps.filter { $0.state == .timeout }.map(\.name)
        let failed = steps.filter { $0.state == .error }.map(\.name)
        var flaws: [String] = []
        if !late.isEmpty { flaws.append("\(late.joined(separator: ", ")) ran out of time") }
        if !failed.isEmpty { flaws.append("\(failed.joined(separator: ", ")) failed") }
        return flaws.isEmpty ? "left something open" : flaws.joined(separator: ", and ")
    }
}
