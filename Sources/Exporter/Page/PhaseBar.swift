import Posix

/// The phases of a shutdown as a bar from its start, in SVG: a style attribute would need a weaker policy.
///
/// Positions are percentages, so that it stretches with the page and its lines do not.
struct PhaseBar {
    let story: ShutdownStory
    /// What the whole width stands for.
    let span: Duration
    /// Pixels.
    let height: Int

    /// Once in a page that has bars: what did not go well is hatched, so that it does not depend on colour alone.
    static let patterns = HTML.element(
        "svg",
        ["class": "unseen", "width": "0", "height": "0", "aria-hidden": "true"],
        .element("defs", [:], hatch("late"), hatch("dead"))
    )

    private static func hatch(_ name: String) -> HTML {
        .element(
            "pattern",
            [
                "id": name, "class": name, "width": "6", "height": "6",
                "patternUnits": "userSpaceOnUse", "patternTransform": "rotate(45)",
            ],
            .element("rect", ["width": "6", "height": "6"]),
            .element("line", ["x1": "0", "y1": "0", "x2": "0", "y2": "6"])
        )
    }

    var html: HTML {
        let began = story.steps.filter(\.hasBegun)
        let width = percent(story.grace ?? story.elapsed)
        var parts = [
            rectangle("track", x: "0%", width: width, title: nil)
        ]
        parts += began.map(reserve)
        parts += began.map(bar)
        if let grace = story.grace, grace < span {
            let x = percent(grace)
            parts.append(
                .element("line", ["class": "deadline", "x1": x, "x2": x, "y1": "0", "y2": "100%"])
            )
        }
        return .element(
            "svg",
            [
                "class": "bar", "width": "100%", "height": "\(height)", "role": "img",
                "aria-label": words,
            ],
            parts
        )
    }

    /// What is drawn, for those who do not see it.
    private var words: String {
        let phases = story.steps.filter(\.hasBegun).map {
            "\($0.name) \(PageText.duration($0.duration)) \($0.state.rawValue)"
        }
        return phases.isEmpty ? "no phase has begun" : phases.joined(separator: ", ")
    }

    /// Too small to be seen is at least a line.
    private func bar(_ step: ShutdownStory.Step) -> HTML {
        let title = "\(step.name): \(PageText.duration(step.duration)), \(step.state.rawValue)"
        let start = min(fraction(step.start), 0.995)
        let width = max(0.004, min(fraction(step.duration), 1 - start))
        return rectangle(
            "phase \(step.state.rawValue)",
            x: percent(start),
            width: percent(width),
            title: title
        )
    }

    /// What a running phase may still take.
    private func reserve(_ step: ShutdownStory.Step) -> HTML {
        guard step.state == .running, step.budget > step.duration else { return .nothing }
        let start = fraction(step.start)
        let width = min(fraction(step.budget), max(0, 1 - start))
        return rectangle("reserve", x: percent(start), width: percent(width), title: nil)
    }

    private func rectangle(
        _ name: String,
        x: String,
        width: String,
        title: String?
    ) -> HTML {
        .element(
            "rect",
            ["class": name, "x": x, "y": "0", "width": width, "height": "100%"],
            title.map { HTML.element("title", [:], HTML($0)) } ?? .nothing
        )
    }

    private func fraction(_ duration: Duration) -> Double {
        span == .zero ? 0 : min(1, duration.inSeconds / span.inSeconds)
    }

    private func percent(_ duration: Duration) -> String { percent(fraction(duration)) }

    /// Hundredths of a percent are finer than any pixel.
    private func percent(_ fraction: Double) -> String {
        let hundredths = Int(fraction * 10_000 + 0.5)
        let digits = String(hundredths % 100 + 100).dropFirst()
        return "\(hundredths / 100).\(digits)%"
    }
}
