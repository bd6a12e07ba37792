import Posix
import StreamVaultTelemetry

/// A shutdown in progress or in the past, as its phases over time.
struct ShutdownTimeline {
    /// A phase.
    struct Step {
        enum State: String {
            case waiting, running, ok, error, timeout, killed
            /// The shutdown ended before the phase began.
            case skipped = "not begun"
        }

        let name: String
        let state: State
        /// From the start of the shutdown to that of the phase.
        let start: Duration
        let duration: Duration
        /// Zero when it is not known.
        let budget: Duration

        var hasBegun: Bool { state != .waiting && state != .skipped }

        var severity: Severity {
            switch state {
            case .waiting, .skipped: .quiet
            case .running: .busy
            case .ok: .well
            case .error, .timeout: .warn
            case .killed: .bad
            }
        }
    }

    let steps: [Step]
    let elapsed: Duration
    /// `nil` when it is not known.
    let grace: Duration?

    /// The time after the end of the grace period; zero before that.
    var overrun: Duration { grace.map { max(.zero, elapsed - $0) } ?? .zero }

    var left: Duration? { grace.map { max(.zero, $0 - elapsed) } }

    /// A shutdown in progress.
    init(_ lifecycle: Lifecycle, now: BootTime) {
        self.init(lifecycle, until: now, pending: .waiting, cut: .running)
    }

    /// A past shutdown; `nil` for a run that ended without one.
    init?(_ run: PastRun) {
        guard run.lifecycle.requestedBoot.nanoseconds > 0 else { return nil }
        let end = run.lifecycle.requestedBoot.advanced(by: .nanoseconds(run.shutdownDuration))
        let cut = run.end == .killed ? Step.State.killed : .timeout
        self.init(run.lifecycle, until: end, pending: .skipped, cut: cut)
    }

    /// - Parameters:
    ///   - lifecycle: with a shutdown in it.
    ///   - now: its end, for a past shutdown.
    ///   - pending: the state of a phase that has not begun.
    ///   - cut: the state of a phase that has begun and not ended.
    private init(
        _ lifecycle: Lifecycle,
        until now: BootTime,
        pending: Step.State,
        cut: Step.State
    ) {
        let began = lifecycle.requestedBoot
        steps = lifecycle.phases.map { phase in
            let (state, end): (Step.State, BootTime) =
                switch phase.state {
                case .pending: (pending, phase.started)
                case .running: (cut, now)
                case .ended(.ok): (.ok, phase.ended)
                case .ended(.error): (.error, phase.ended)
                case .ended(.timeout): (.timeout, phase.ended)
                }
            return Step(
                name: phase.name,
                state: state,
                start: phase.started.since(began),
                duration: end.since(phase.started),
                budget: .nanoseconds(phase.budget)
            )
        }
        elapsed = now.since(began)
        grace = lifecycle.gracePeriod > 0 ? .nanoseconds(lifecycle.gracePeriod) : nil
    }
}

/// The figure of a shutdown: the time left or used, the phases on a scale with the deadline, and a table of them.
struct ShutdownFigure {
    let timeline: ShutdownTimeline
    let isRunning: Bool
    /// The number of the signal that began it; 0 for none.
    let signal: UInt32

    var html: HTML {
        let span = max(timeline.grace ?? .zero, timeline.elapsed)
        return .element(
            "figure",
            ["class": "shutdown"],
            .element("figcaption", [:], isRunning ? "Shutdown in progress" : "Last shutdown"),
            .element("p", ["class": "clock"], clock),
            PhaseBar(timeline: timeline, span: span, height: 30).html,
            scale(span),
            phases
        )
    }

    private var clock: [HTML] {
        let elapsed = QuantityText.duration(timeline.elapsed)
        guard let grace = timeline.grace else {
            return [figure(elapsed), " ", .element("span", [:], "grace period not known\(cause)")]
        }
        let total = QuantityText.setting(grace)
        guard isRunning else {
            let share = QuantityText.percent(timeline.elapsed.inSeconds / grace.inSeconds)
            return [figure(elapsed), " ", .element("span", [:], "\(share) of \(total)\(cause)")]
        }
        guard timeline.overrun == .zero else {
            let late = QuantityText.duration(timeline.overrun)
            return [
                figure(late), " ", .element("span", [:], "past the deadline of \(total)\(cause)"),
            ]
        }
        let left = QuantityText.duration(timeline.left ?? .zero)
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

    /// The label of the deadline; it ends at the deadline, and so never exceeds the page.
    private func scale(_ span: Duration) -> HTML {
        guard let grace = timeline.grace, span > .zero else { return .nothing }
        let place = Int(grace.inSeconds / span.inSeconds * 1000 + 0.5)
        let text = HTML.element(
            "text",
            ["x": "\(place / 10).\(place % 10)%", "y": "12", "text-anchor": "end"],
            "deadline \(QuantityText.setting(grace))"
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
                    .element("th", ["scope": "col", "class": "number"], "Duration"),
                    .element("th", ["scope": "col", "class": "number"], "Budget")
                )
            ),
            .element("tbody", [:], timeline.steps.map(row))
        )
    }

    private func row(_ step: ShutdownTimeline.Step) -> HTML {
        let took = step.hasBegun ? QuantityText.duration(step.duration) : ""
        let budget = step.budget == .zero ? "" : QuantityText.setting(step.budget)
        return .element(
            "tr",
            ["class": step.state == .running ? "current" : nil],
            .element("th", ["scope": "row"], HTML(step.name)),
            .element("td", [:], step.severity.badge(step.state.rawValue)),
            .element("td", ["class": "number"], HTML(took)),
            .element("td", ["class": "number"], HTML(budget))
        )
    }
}

/// The phases of a shutdown as a bar, in SVG, because style attributes would need a weaker policy.
///
/// Positions are percentages, so that the bar stretches with the page while its lines do not.
struct PhaseBar {
    let timeline: ShutdownTimeline
    /// The duration that the full width represents.
    let span: Duration
    /// In pixels.
    let height: Int

    /// The patterns of failed phases, once in a page: hatching distinguishes them without colour.
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
        let began = timeline.steps.filter(\.hasBegun)
        let width = percent(timeline.grace ?? timeline.elapsed)
        var parts = [
            rectangle("track", x: "0%", width: width, title: nil)
        ]
        parts += began.map(reserve)
        parts += began.map(bar)
        if let grace = timeline.grace, grace < span {
            let x = percent(grace)
            parts.append(
                .element("line", ["class": "deadline", "x1": x, "x2": x, "y1": "0", "y2": "100%"])
            )
        }
        return .element(
            "svg",
            [
                "class": "bar", "width": "100%", "height": "\(height)", "role": "img",
                "aria-label": description,
            ],
            parts
        )
    }

    /// The bar in words, for screen readers.
    private var description: String {
        let phases = timeline.steps.filter(\.hasBegun).map {
            "\($0.name) \(QuantityText.duration($0.duration)) \($0.state.rawValue)"
        }
        return phases.isEmpty ? "no phase has begun" : phases.joined(separator: ", ")
    }

    /// A phase that is too short to be visible is drawn as a line.
    private func bar(_ step: ShutdownTimeline.Step) -> HTML {
        let title = "\(step.name): \(QuantityText.duration(step.duration)), \(step.state.rawValue)"
        let start = min(fraction(step.start), 0.995)
        let width = max(0.004, min(fraction(step.duration), 1 - start))
        return rectangle(
            "phase \(step.state.rawValue)",
            x: percent(start),
            width: percent(width),
            title: title
        )
    }

    /// The remaining budget of a running phase.
    private func reserve(_ step: ShutdownTimeline.Step) -> HTML {
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

    /// With two decimals, which is finer than a pixel.
    private func percent(_ fraction: Double) -> String {
        let hundredths = Int(fraction * 10_000 + 0.5)
        let digits = String(hundredths % 100 + 100).dropFirst()
        return "\(hundredths / 100).\(digits)%"
    }
}
