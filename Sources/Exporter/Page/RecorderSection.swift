import Posix
import StreamVaultTelemetry

/// The section of one recorder.
struct RecorderSection {
    let known: KnownRecorder
    let summary: RecorderSummary
    /// Hidden metrics of all recorders.
    let hidden: [HiddenFamily]
    let now: WallTime
    /// The number of past runs to show.
    let maxRuns: Int

    var html: HTML {
        .element(
            "section",
            ["class": "recorder", "aria-labelledby": "recorder-\(known.name)"],
            .element(
                "header",
                [:],
                .element("h2", ["id": "recorder-\(known.name)"], HTML(known.name)),
                summary.severity.badge(summary.word)
            ),
            summary.detail.isEmpty
                ? .nothing : .element("p", ["class": "detail"], HTML(summary.detail)),
            known.snapshot.map(content) ?? .nothing,
            hiddenFamilies
        )
    }

    /// The names that fit on a screen.
    private static let maxHiddenNames = 16

    private var hiddenFamilies: HTML {
        let hidden = hidden.filter { $0.recorder == known.name }
        guard !hidden.isEmpty else { return .nothing }
        let shown = hidden.prefix(Self.maxHiddenNames).map { family in
            HTML.element(
                "li",
                [:],
                .element("code", [:], HTML(family.name)),
                ": \(family.reason.rawValue)"
            )
        }
        let rest = hidden.count - shown.count
        return .element(
            "div",
            ["class": "note"],
            .element("p", [:], "\(QuantityText.count(hidden.count, "metric")) not shown:"),
            .element(
                "ul",
                [:],
                shown + (rest > 0 ? [.element("li", [:], "and \(rest) more")] : [])
            )
        )
    }

    private func content(_ snapshot: Snapshot) -> HTML {
        .sequence([
            facts(snapshot),
            shutdown(snapshot),
            RecordingsTable(snapshot: snapshot, today: now).html,
            ShutdownsTable(runs: snapshot.history.suffix(maxRuns), now: now).html,
        ])
    }

    private func facts(_ snapshot: Snapshot) -> HTML {
        let identity = snapshot.contents.identity
        let run = QuantityText.time(identity.startedWall, today: now)
        let end = snapshot.past.map { $0.wall($0.lastSeen) }
        let heartbeat = QuantityText.age(snapshot.takenAt.since(snapshot.heartbeat))
        return .element(
            "dl",
            [:],
            fact("Version", HTML(identity.version)),
            fact(end == nil ? "Running since" : "Ran from", run),
            end.map { fact("until", QuantityText.time($0, today: now)) }
                ?? fact("Heartbeat", "\(heartbeat) ago")
        )
    }

    private func fact(_ name: HTML, _ value: HTML) -> HTML {
        .element("div", [:], .element("dt", [:], name), .element("dd", [:], value))
    }

    private func shutdown(_ snapshot: Snapshot) -> HTML {
        let lifecycle = snapshot.contents.lifecycle
        let past = snapshot.past.flatMap { ShutdownTimeline($0) }
        let running =
            snapshot.past == nil && lifecycle.isShuttingDown
            ? ShutdownTimeline(lifecycle, now: snapshot.takenAt) : nil
        guard let timeline = running ?? past else { return .nothing }
        return ShutdownFigure(
            timeline: timeline,
            isRunning: running != nil,
            signal: lifecycle.signal
        ).html
    }
}

/// The state of a recorder in words.
struct RecorderSummary {
    let severity: Severity
    /// The text of its badge.
    let word: String
    /// The rest of a sentence after its name, such as `is recording`; without numbers, so that it changes rarely.
    let predicate: String
    /// Further information for an operator, in complete sentences.
    let detail: String

    /// A recording without media for that long is stalled; segments of live streams last up to ten seconds.
    static let stall = Duration.seconds(30)

    /// `now` is for past events, perhaps before a reboot.
    init(_ known: KnownRecorder, now: WallTime) {
        if let failure = known.failure {
            let rest =
                known.snapshot == nil ? "" : " The values below are the last ones that were read."
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
            let silence = QuantityText.age(snapshot.takenAt.since(snapshot.heartbeat))
            let detail = "No heartbeat for \(silence), but its process is alive."
            self.init(.bad, "hung", "hangs", detail)
        case .ended(let end): self.init(end, snapshot, now: now)
        }
    }

    private init(alive snapshot: Snapshot) {
        let count = snapshot.contents.recordings.count
        switch snapshot.contents.lifecycle.state {
        case .starting:
            let age = QuantityText.age(
                snapshot.takenAt.since(snapshot.contents.identity.startedBoot)
            )
            self.init(.busy, "starting", "is starting", "It was started \(age) ago.")
        case .recording where count == 0:
            self.init(.well, "ready", "is ready", "No stream is being recorded.")
        case .recording: self.init(recording: snapshot)
        case .draining:
            let detail = "It accepts no new recordings, and exits \(Self.end(of: count))."
            self.init(.busy, "draining", "is draining", detail)
        case .stopping, .stopped:
            let timeline = ShutdownTimeline(snapshot.contents.lifecycle, now: snapshot.takenAt)
            self.init(stopping: timeline, open: count)
        }
    }

    private static func end(of count: Int) -> String {
        guard count > 0 else { return "now" }
        return "when \(QuantityText.count(count, "recording")) \(count == 1 ? "has" : "have") ended"
    }

    private init(recording snapshot: Snapshot) {
        let recordings = snapshot.recordings
        let stalled = recordings.filter { $0.isStalled(at: snapshot.takenAt) }
        let count = QuantityText.count(recordings.count, "stream")
        guard let first = stalled.first else {
            self.init(.well, "recording", "is recording", "\(count), all writing.")
            return
        }
        let silence = QuantityText.age(snapshot.takenAt.since(first.lastWrite))
        let others = stalled.count == 1 ? "" : ", nor have \(stalled.count - 1) others"
        self.init(
            .warn,
            "stalled",
            "is recording, but a stream has stalled",
            "\(count). \(first.recording.stream) has written nothing for \(silence)\(others)."
        )
    }

    private init(stopping timeline: ShutdownTimeline, open count: Int) {
        let running = timeline.steps.first { $0.state == .running }
        let phase = running.map { "In the phase \($0.name)" } ?? "Between two phases"
        let open = QuantityText.count(count, "recording") + " open"
        guard timeline.overrun == .zero else {
            let late = QuantityText.age(timeline.overrun)
            self.init(
                .warn,
                "past its deadline",
                "is shutting down, past its deadline",
                "\(phase), \(late) past the grace period: it may be killed at any moment, with \(open)."
            )
            return
        }
        self.init(.busy, "shutting down", "is shutting down", "\(phase); \(open).")
    }

    private init(_ end: RunOutcome, _ snapshot: Snapshot, now: WallTime) {
        guard let run = snapshot.past else {
            self.init(.quiet, "stopped", "has stopped", "")
            return
        }
        let ago = "\(QuantityText.age(run.age(at: now))) ago"
        let lost = run.abandonedSentence
        switch end {
        case .clean:
            self.init(.well, "stopped", "has stopped", "It exited \(ago) without errors.")
        case .degraded where run.lifecycle.failedWithoutShutdown:
            let status = run.lifecycle.exitStatus
            let detail = "It exited \(ago) with status \(status), without a shutdown: see its log."
            self.init(.warn, "failed", "has failed", "\(detail) \(lost)")
        case .degraded:
            let detail = "It exited \(ago), but \(run.failures). \(lost)"
            self.init(.warn, "degraded", "has stopped with errors", detail)
        case .killed:
            let phase = run.fatalPhase.map { "in the phase \($0.name)" } ?? "between two phases"
            let detail = "It died \(ago) during its shutdown, \(phase). \(lost)"
            self.init(.bad, "killed", "was killed", detail)
        case .crashed:
            self.init(.bad, "crashed", "has crashed", "It died \(ago) without a shutdown. \(lost)")
        }
    }

    private init(_ severity: Severity, _ word: String, _ predicate: String, _ detail: String) {
        (self.severity, self.word, self.predicate, self.detail) = (
            severity, word, predicate, detail
        )
    }
}

extension RecordingProgress {
    func isStalled(at now: BootTime) -> Bool {
        recording.state == .recording && now.since(lastWrite) > RecorderSummary.stall
    }
}

extension PastRun {
    /// The time since it was last alive.
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

    /// The failures of a shutdown that was completed.
    fileprivate var failures: String {
        let steps = ShutdownTimeline(self)?.steps ?? []
        let late = steps.filter { $0.state == .timeout }.map(\.name)
        let failed = steps.filter { $0.state == .error }.map(\.name)
        var failures: [String] = []
        if !late.isEmpty { failures.append("\(late.joined(separator: ", ")) timed out") }
        if !failed.isEmpty { failures.append("\(failed.joined(separator: ", ")) failed") }
        return failures.isEmpty
            ? "not everything was completed" : failures.joined(separator: ", and ")
    }
}

/// The open recordings, or those that were open when the recorder died.
struct RecordingsTable {
    let snapshot: Snapshot
    let today: WallTime

    /// Further recordings are only counted.
    static let maxRows = 50

    var html: HTML {
        let recordings = snapshot.recordings
        guard !recordings.isEmpty else { return .nothing }
        let rows = recordings.prefix(Self.maxRows).map(row)
        let rest = recordings.count - rows.count
        let caption = snapshot.past == nil ? "Open recordings" : "Abandoned recordings"
        return .sequence([
            .element(
                "table",
                ["class": "recordings"],
                .element("caption", [:], HTML(caption)),
                .element(
                    "thead",
                    [:],
                    .element(
                        "tr",
                        [:],
                        .element("th", ["scope": "col"], "Stream"),
                        .element("th", ["scope": "col", "class": "number"], "Last write"),
                        .element("th", ["scope": "col", "class": "number"], "Written")
                    )
                ),
                .element("tbody", [:], rows)
            ),
            rest > 0 ? .element("p", ["class": "note"], "and \(rest) more") : .nothing,
        ])
    }

    private func row(_ progress: RecordingProgress) -> HTML {
        let recording = progress.recording
        let now = snapshot.past?.lastSeen ?? snapshot.takenAt
        let age = QuantityText.age(now.since(recording.startedBoot))
        return .element(
            "tr",
            [:],
            .element(
                "th",
                ["scope": "row"],
                .element("span", ["class": "name"], HTML(recording.stream)),
                " ",
                state(of: progress),
                .element(
                    "span",
                    ["class": "note"],
                    "\(age), since ",
                    QuantityText.time(recording.startedWall, today: today)
                ),
                .element("span", ["class": "path"], HTML(recording.path))
            ),
            .element("td", ["class": "number"], "\(lastWrite(progress, now))"),
            .element("td", ["class": "number"], "\(QuantityText.bytes(progress.bytes))")
        )
    }

    private func state(of progress: RecordingProgress) -> HTML {
        let isOver = snapshot.past != nil
        switch progress.recording.state {
        case .finalizing where isOver: return Severity.quiet.badge("was finalizing")
        case .finalizing: return Severity.busy.badge("finalizing")
        case .recording where !isOver && progress.isStalled(at: snapshot.takenAt):
            return Severity.warn.badge("stalled")
        case .recording: return .nothing
        }
    }

    private func lastWrite(_ progress: RecordingProgress, _ now: BootTime) -> String {
        guard progress.bytes > 0 else { return "never" }
        let age = now.since(progress.lastWrite)
        guard snapshot.past != nil else { return "\(QuantityText.age(age)) ago" }
        return age < .seconds(1) ? "at the end" : "\(QuantityText.age(age)) before"
    }
}
