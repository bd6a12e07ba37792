import Posix
import StreamVaultTelemetry

/// The recordings that are open, or were when their recorder died.
struct RecordingsTable {
    let snapshot: Snapshot
    let today: WallTime

    /// What is beyond is counted only.
    static let most = 50

    var html: HTML {
        let recordings = snapshot.recordings
        guard !recordings.isEmpty else { return .nothing }
        let rows = recordings.prefix(Self.most).map(row)
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
        let age = PageText.age(now.since(recording.startedBoot))
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
                    PageText.time(recording.startedWall, today: today)
                ),
                .element("span", ["class": "path"], HTML(recording.path))
            ),
            .element("td", ["class": "number"], "\(lastWrite(progress, now))"),
            .element("td", ["class": "number"], "\(PageText.bytes(progress.bytes))")
        )
    }

    private func state(of progress: RecordingProgress) -> HTML {
        let isOver = snapshot.past != nil
        switch progress.recording.state {
        case .finalizing where isOver: return Tone.quiet.badge("was finalizing")
        case .finalizing: return Tone.busy.badge("finalizing")
        case .recording where !isOver && progress.isStalled(at: snapshot.takenAt):
            return Tone.warn.badge("stalled")
        case .recording: return .nothing
        }
    }

    private func lastWrite(_ progress: RecordingProgress, _ now: BootTime) -> String {
        guard progress.bytes > 0 else { return "never" }
        let age = now.since(progress.lastWrite)
        guard snapshot.past != nil else { return "\(PageText.age(age)) ago" }
        return age < .seconds(1) ? "at the end" : "\(PageText.age(age)) before"
    }
}
