import Posix
import StreamVaultTelemetry

/// All that the page says about one recorder.
struct RecorderSection {
    let known: KnownRecorder
    let words: RecorderWords
    /// Metrics of all recorders that are not shown.
    let hidden: [HiddenFamily]
    let now: WallTime
    /// Past runs that are shown.
    let mostRuns: Int

    var html: HTML {
        .element(
            "section",
            ["class": "recorder", "aria-labelledby": "recorder-\(known.name)"],
            .element(
                "header",
                [:],
                .element("h2", ["id": "recorder-\(known.name)"], HTML(known.name)),
                words.tone.badge(words.word)
            ),
            words.detail.isEmpty
                ? .nothing : .element("p", ["class": "detail"], HTML(words.detail)),
            known.snapshot.map(content) ?? .nothing,
            hiddenFamilies
        )
    }

    /// Names are listed that fit on a screen.
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
            .element("p", [:], "\(PageText.count(hidden.count, "metric")) of it not shown:"),
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
            ShutdownsTable(runs: snapshot.history.suffix(mostRuns), now: now).html,
        ])
    }

    private func facts(_ snapshot: Snapshot) -> HTML {
        let identity = snapshot.contents.identity
        let run = PageText.time(identity.startedWall, today: now)
        let end = snapshot.past.map { $0.wall($0.lastSeen) }
        let heartbeat = PageText.age(snapshot.takenAt.since(snapshot.heartbeat))
        return .element(
            "dl",
            [:],
            fact("Version", HTML(identity.version)),
            fact(end == nil ? "Running since" : "Ran from", run),
            end.map { fact("until", PageText.time($0, today: now)) }
                ?? fact("Heartbeat", "\(heartbeat) ago")
        )
    }

    private func fact(_ name: HTML, _ value: HTML) -> HTML {
        .element("div", [:], .element("dt", [:], name), .element("dd", [:], value))
    }

    private func shutdown(_ snapshot: Snapshot) -> HTML {
        let lifecycle = snapshot.contents.lifecycle
        let past = snapshot.past.flatMap { ShutdownStory($0) }
        let running =
            snapshot.past == nil && lifecycle.isShuttingDown
            ? ShutdownStory(lifecycle, now: snapshot.takenAt) : nil
        guard let story = running ?? past else { return .nothing }
        return ShutdownFigure(
            story: story,
            isRunning: running != nil,
            signal: lifecycle.signal
        ).html
    }
}
