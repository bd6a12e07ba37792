import HTTP
import Posix
import StreamVaultTelemetry

/// The status page: complete without JavaScript, which only updates it.
struct StatusPage {
    let recorders: [KnownRecorder]
    let report: HealthReport
    let settings: Settings
    /// Metrics of all recorders that are not shown.
    let hidden: [HiddenFamily]
    /// Messages about the exporter itself.
    let notices: [String]

    /// Values that do not change while the exporter runs.
    struct Settings {
        let version: String
        let directory: String
        let metricsPath: String
        let started: WallTime
    }

    /// Recorders with a section; further ones are only counted.
    private static let maxRecorders = 32
    /// Past runs of all recorders together, which limits the size of the page.
    private static let maxRuns = 128

    /// The response, with a nonce of its own; `isUpdate` when the script of an open page requests it.
    func response(isUpdate: Bool, now: WallTime = .now()) -> Response {
        let nonce = Self.nonce()
        let policy = [
            "default-src 'none'", "style-src 'nonce-\(nonce)'", "script-src 'nonce-\(nonce)'",
            "img-src data:", "connect-src 'self'", "base-uri 'none'", "form-action 'none'",
            "frame-ancestors 'none'",
        ]
        return Response(
            contentType: "text/html; charset=utf-8",
            headers: [
                ("Content-Security-Policy", policy.joined(separator: "; ")),
                ("Referrer-Policy", "no-referrer"), ("X-Content-Type-Options", "nosniff"),
                ("Cache-Control", "no-store"),
            ],
            body: body(nonce: isUpdate ? nil : nonce, now: now)
        )
    }

    private static func nonce() -> String {
        (0..<2).map { _ in String(UInt64.random(in: .min ... .max), radix: 36) }.joined()
    }

    private func body(nonce: String?, now: WallTime) -> [UInt8] {
        let summaries = recorders.map { RecorderSummary($0, now: now) }
        let summary = PageSummary(
            recorders.map(\.name),
            summaries,
            isUnreadable: report.directoryError != nil
        )
        return HTML.document(
            head(summary, nonce: nonce),
            .element(
                "body",
                [:],
                PhaseBar.patterns,
                masthead,
                .element("p", ["id": "connection", "role": "status", "hidden": ""]),
                .element("main", ["data-refresh": refresh], main(summary, summaries, now: now)),
                footer(now: now),
                nonce.map { .inline("script", nonce: $0, PageScript.source) } ?? .nothing
            )
        )
    }

    private func head(_ summary: PageSummary, nonce: String?) -> HTML {
        .element(
            "head",
            [:],
            .void("meta", ["charset": "utf-8"]),
            .element("title", [:], "\(summary.sentence) – StreamVault"),
            .void("meta", ["name": "viewport", "content": "width=device-width, initial-scale=1"]),
            .void("meta", ["name": "color-scheme", "content": "light dark"]),
            .void("link", ["rel": "icon", "href": summary.icon]),
            .element(
                "noscript",
                [:],
                .void("meta", ["http-equiv": "refresh", "content": "5"])
            ),
            nonce.map { .inline("style", nonce: $0, PageStyle.source) } ?? .nothing
        )
    }

    /// Seconds until the script fetches the page again.
    private var refresh: String {
        let isBusy = recorders.contains { $0.snapshot?.contents.lifecycle.isShuttingDown == true }
        return isBusy ? "1" : "3"
    }

    private var masthead: HTML {
        .element(
            "header",
            ["class": "masthead"],
            .element("p", ["class": "brand"], "StreamVault"),
            .element(
                "nav",
                ["aria-label": "Other views"],
                link("Metrics", settings.metricsPath),
                link("Health", "/health"),
                link("Shutdowns", "/shutdowns")
            )
        )
    }

    /// A relative link, because a proxy may serve the exporter below a path.
    private func link(_ name: HTML, _ path: String) -> HTML {
        .element("a", ["href": String(path.dropFirst())], name)
    }

    private func main(_ summary: PageSummary, _ summaries: [RecorderSummary], now: WallTime)
        -> [HTML]
    {
        let maxRuns = max(4, Self.maxRuns / max(1, recorders.count))
        let sections = zip(recorders, summaries).prefix(Self.maxRecorders).map {
            RecorderSection(known: $0, summary: $1, hidden: hidden, now: now, maxRuns: maxRuns).html
        }
        let rest = recorders.count - sections.count
        return [
            .element(
                "h1",
                ["class": summary.severity.rawValue, "role": "status"],
                HTML(summary.sentence)
            ),
            .sequence(notices.map { .element("p", ["class": "notice"], HTML($0)) }),
            recorders.isEmpty ? noRecorder : overview(summaries),
        ] + sections + [
            rest > 0 ? .element("p", ["class": "note"], "and \(rest) more recorders") : .nothing
        ]
    }

    private var noRecorder: HTML {
        let directory = HTML.element("code", [:], HTML(settings.directory))
        let text: [HTML] =
            if let error = report.directoryError {
                [directory, " cannot be read: \(error.reason). Liveness probes pass."]
            } else {
                report.hasSeenRecorder
                    ? [
                        "The telemetry of every recorder in ", directory,
                        " has been removed. \(liveness)",
                    ]
                    : ["Nothing has published telemetry in ", directory, " yet. \(liveness)"]
            }
        return .element("section", ["class": "recorder"], .element("p", ["class": "detail"], text))
    }

    private var liveness: String {
        if report.hasSeenRecorder { return "Liveness probes pass." }
        return report.isWithinStartupGrace
            ? "Liveness probes pass during the startup grace." : "Liveness probes fail."
    }

    /// Links to the sections of several recorders.
    private func overview(_ summaries: [RecorderSummary]) -> HTML {
        guard recorders.count > 1 else { return .nothing }
        let items = zip(recorders, summaries).prefix(Self.maxRecorders).map { known, summary in
            HTML.element(
                "li",
                [:],
                .element("a", ["href": "#recorder-\(known.name)"], HTML(known.name)),
                summary.severity.badge(summary.word)
            )
        }
        return .element("ul", ["class": "overview", "aria-label": "Recorders"], items)
    }

    private func footer(now: WallTime) -> HTML {
        .element(
            "footer",
            [:],
            .element(
                "p",
                [:],
                "streamvault-exporter \(settings.version), up since ",
                QuantityText.time(settings.started)
            ),
            .element("p", [:], "All times are UTC.")
        )
    }
}

/// The state of all recorders in one sentence, for heading and title, and as an icon.
struct PageSummary {
    let sentence: String
    let severity: Severity

    /// `isUnreadable` when the directory may contain recorders that the exporter cannot see.
    init(_ names: [String], _ summaries: [RecorderSummary], isUnreadable: Bool) {
        guard !names.isEmpty || !isUnreadable else {
            (sentence, severity) = ("The telemetry directory cannot be read", .warn)
            return
        }
        let rank: [Severity] = [.bad, .warn, .busy, .quiet, .well]
        severity =
            rank.first { severity in summaries.contains { $0.severity == severity } } ?? .quiet
        if let name = names.first, let only = summaries.first, names.count == 1 {
            sentence = "\(name) \(only.predicate)"
            return
        }
        let affected = summaries.count { $0.severity == .bad || $0.severity == .warn }
        switch (names.count, affected) {
        case (0, _): sentence = "No recorder yet"
        case (let all, 0): sentence = "\(all) recorders without problems"
        case (let all, 1): sentence = "1 of \(all) recorders needs attention"
        case (let all, let some): sentence = "\(some) of \(all) recorders need attention"
        }
    }

    /// A dot in the colour of the state, as the icon of the tab.
    var icon: String {
        let colour =
            switch severity {
            case .well: "1a7f4b"
            case .busy: "2f6fd0"
            case .warn: "b97700"
            case .bad: "c4342b"
            case .quiet: "80868f"
            }
        return
            "data:image/svg+xml,%3Csvg%20xmlns=%27http://www.w3.org/2000/svg%27%20viewBox=%270%200%2016%2016%27"
            + "%3E%3Ccircle%20cx=%278%27%20cy=%278%27%20r=%276%27%20fill=%27%23\(colour)%27/%3E%3C/svg%3E"
    }
}
