import Posix
import StreamVaultTelemetry

/// A shutdown in full: the time that is left or was used, the phases against the deadline, and each in words.
struct ShutdownFigure {
    let story: ShutdownStory
    let isRunning: Bool
    /// Number of the signal that began it; 0 for none.
    let signal: UInt32

    var html: HTML {
        let span = max(story.grace ?? .zero, story.elapsed)
        return .element(
            "figure",
            ["class": "shutdown"],
            .element("figcaption", [:], isRunning ? "The running shutdown" : "The last shutdown"),
            .element("p", ["class": "clock"], clock),
            PhaseBar(story: story, span: span, height: 30).html,
            scale(span),
            phases
        )
    }

    private var clock: [HTML] {
        let elapsed = PageText.duration(story.elapsed)
        guard let grace = story.grace else {
            return [figure(elapsed), " ", .element("span", [:], "no grace period known\(cause)")]
        }
        let total = PageText.setting(grace)
        guard isRunning else {
            let share = PageText.percent(story.elapsed.inSeconds / grace.inSeconds)
            return [figure(elapsed), " ", .element("span", [:], "\(share) of \(total)\(cause)")]
        }
        guard story.overrun == .zero else {
            let late = PageText.duration(story.overrun)
            return [
                figure(late), " ", .element("span", [:], "past the deadline of \(total)\(cause)"),
            ]
        }
        let left = PageText.duration(story.left ?? .zero)
        return [figure(left), " ", .element("span", [:], "left · \(elapsed) of \(total)\(cause)")]
    }

    private func figure(_ text: String) -> HTML { .element("strong", [:], HTML(text)) }

    private var cause: String {
        switch signal {
        case 0: ""
        case 2: " · SIGINT"
        case 15: " · SIGTERM"
        default: " · signal \(signal)"
        }
    }

    /// Names the deadline where it is; its label ends there, and so is never outside of the page.
    private func scale(_ span: Duration) -> HTML {
        guard let grace = story.grace, span > .zero else { return .nothing }
        let place = Int(grace.inSeconds / span.inSeconds * 1000 + 0.5)
        let text = HTML.element(
            "text",
            ["x": "\(place / 10).\(place % 10)%", "y": "12", "text-anchor": "end"],
            "deadline \(PageText.setting(grace))"
        )
        return .element("svg", ["class": "scale", "width": "100%", "height": "16"], text)
    }

    private var phases: HTML {
        .element(
            "table",
            ["class": "phases"],
            .element("caption", ["class": "unseen"], "Phases of the shutdown"),
            .element(
                "thead",
                [:],
                .element(
                    "tr",
                    [:],
                    .element("th", ["scope": "col"], "Phase"),
                    .element("th", ["scope": "col"], "State"),
                    .element("th", ["scope": "col", "class": "number"], "Took"),
                    .element("th", ["scope": "col", "class": "number"], "Budget")
                )
            ),
            .element("tbody", [:], story.steps.map(row))
        )
    }

    private func row(_ step: ShutdownStory.Step) -> HTML {
        let took = step.hasBegun ? PageText.duration(step.duration) : ""
        let budget = step.budget == .zero ? "" : PageText.setting(step.budget)
        return .element(
            "tr",
            ["class": step.state == .running ? "current" : nil],
            .element("th", ["scope": "row"], HTML(step.name)),
            .element("td", [:], step.tone.badge(step.state.rawValue)),
            .element("td", ["class": "number"], HTML(took)),
            .element("td", ["class": "number"], HTML(budget))
        )
    }
}
