import Posix
import StreamVaultTelemetry

/// The ends of the last runs of a recorder, the latest first.
struct ShutdownsTable {
    let runs: [PastRun]
    let now: WallTime

    var html: HTML {
        guard !runs.isEmpty else {
            return .element("p", ["class": "note"], "No earlier run is known.")
        }
        let timelines = runs.reversed().map { ($0, ShutdownTimeline($0)) }
        // All rows have one scale, so that they can be compared.
        let span = timelines.compactMap { $1.map { max($0.elapsed, $0.grace ?? .zero) } }.max()
        return .element(
            "table",
            ["class": "shutdowns"],
            .element(
                "caption",
                [:],
                runs.count == 1 ? "How the last run ended" : "How the last \(runs.count) runs ended"
            ),
            .element(
                "thead",
                [:],
                .element(
                    "tr",
                    [:],
                    .element("th", ["scope": "col"], "Outcome"),
                    .element("th", ["scope": "col"], "Phases"),
                    .element("th", ["scope": "col", "class": "number"], "Duration")
                )
            ),
            .element("tbody", [:], timelines.map { row($0, $1, span: span ?? .zero) })
        )
    }

    private func row(_ run: PastRun, _ timeline: ShutdownTimeline?, span: Duration) -> HTML {
        .element(
            "tr",
            [:],
            .element(
                "th",
                ["scope": "row"],
                run.end.severity.badge(run.end.label),
                .element("span", ["class": "note"], QuantityText.time(run.wall(run.lastSeen))),
                lostRecordings(run)
            ),
            .element("td", [:], bar(timeline, span: span)),
            .element("td", ["class": "number"], duration(of: timeline))
        )
    }

    private func lostRecordings(_ run: PastRun) -> HTML {
        guard run.abandoned > 0 else { return .nothing }
        return .element(
            "span",
            ["class": "loss"],
            "\(QuantityText.count(Int(run.abandoned), "recording")) abandoned"
        )
    }

    private func bar(_ timeline: ShutdownTimeline?, span: Duration) -> HTML {
        guard let timeline else { return .element("span", ["class": "note"], "no shutdown") }
        return .sequence([
            PhaseBar(timeline: timeline, span: span, height: 12).html,
            .element("span", ["class": "note"], "\(longest(of: timeline))"),
        ])
    }

    /// The phase that took longest.
    private func longest(of timeline: ShutdownTimeline) -> String {
        guard let step = timeline.steps.max(by: { $0.duration < $1.duration }) else { return "" }
        let outcome = step.state == .ok ? "" : ", \(step.state.rawValue)"
        return "\(step.name) \(QuantityText.duration(step.duration))\(outcome)"
    }

    private func duration(of timeline: ShutdownTimeline?) -> HTML {
        guard let timeline else { return "–" }
        let elapsed = HTML("\(QuantityText.duration(timeline.elapsed))")
        guard let grace = timeline.grace else { return elapsed }
        let share = QuantityText.percent(timeline.elapsed.inSeconds / grace.inSeconds)
        return .sequence([
            elapsed,
            .element("span", ["class": "note"], "\(share) of \(QuantityText.setting(grace))"),
        ])
    }
}

extension RunOutcome {
    var severity: Severity {
        switch self {
        case .clean: .well
        case .degraded: .warn
        case .killed, .crashed: .bad
        }
    }
}
