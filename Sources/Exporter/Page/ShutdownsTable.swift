import Posix
import StreamVaultTelemetry

/// How the last runs of a recorder ended, the latest first.
struct ShutdownsTable {
    let runs: [PastRun]
    let now: WallTime

    var html: HTML {
        guard !runs.isEmpty else {
            return .element("p", ["class": "note"], "No run before this one is known.")
        }
        let stories = runs.reversed().map { ($0, ShutdownStory($0)) }
        // One scale for all rows, so that they can be compared.
        let span = stories.compactMap { $1.map { max($0.elapsed, $0.grace ?? .zero) } }.max()
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
                    .element("th", ["scope": "col", "class": "number"], "Took")
                )
            ),
            .element("tbody", [:], stories.map { row($0, $1, span: span ?? .zero) })
        )
    }

    private func row(_ run: PastRun, _ story: ShutdownStory?, span: Duration) -> HTML {
        .element(
            "tr",
            [:],
            .element(
                "th",
                ["scope": "row"],
                run.end.tone.badge(run.end.label),
                .element("span", ["class": "note"], PageText.time(run.wall(run.lastSeen))),
                loss(run)
            ),
            .element("td", [:], bar(story, span: span)),
            .element("td", ["class": "number"], took(story))
        )
    }

    private func loss(_ run: PastRun) -> HTML {
        guard run.abandoned > 0 else { return .nothing }
        return .element(
            "span",
            ["class": "loss"],
            "\(PageText.count(Int(run.abandoned), "recording")) abandoned"
        )
    }

    private func bar(_ story: ShutdownStory?, span: Duration) -> HTML {
        guard let story else { return .element("span", ["class": "note"], "no shutdown") }
        return .sequence([
            PhaseBar(story: story, span: span, height: 12).html,
            .element("span", ["class": "note"], "\(longest(of: story))"),
        ])
    }

    /// The phase that took the most, which is what an operator asks next.
    private func longest(of story: ShutdownStory) -> String {
        guard let step = story.steps.max(by: { $0.duration < $1.duration }) else { return "" }
        let outcome = step.state == .ok ? "" : ", \(step.state.rawValue)"
        return "\(step.name) \(PageText.duration(step.duration))\(outcome)"
    }

    private func took(_ story: ShutdownStory?) -> HTML {
        guard let story else { return "–" }
        let elapsed = HTML("\(PageText.duration(story.elapsed))")
        guard let grace = story.grace else { return elapsed }
        let share = PageText.percent(story.elapsed.inSeconds / grace.inSeconds)
        return .sequence([
            elapsed,
            .element("span", ["class": "note"], "\(share) of \(PageText.setting(grace))"),
        ])
    }
}

extension RunEnd {
    var tone: Tone {
        switch self {
        case .clean: .well
        case .degraded: .warn
        case .killed, .crashed: .bad
        }
    }
}
