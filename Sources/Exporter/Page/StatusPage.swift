import HTTP
import Posix
import StreamVaultTelemetry

/// The page for people: whole without JavaScript, and kept up to date by it.
struct StatusPage {
    let recorders: [KnownRecorder]
    let report: HealthReport
    let facts: Facts
    /// Metrics that are not shown.
    let hidden: [HiddenFamily]
    /// What the exporter reports of itself, such as that it waits for a last scrape.
    let notices: [String]

    /// What stays as it is while the exporter runs.
    struct Facts {
        let version: String
        let directory: String
        let metricsPath: String
        let started: WallTime
    }

    /// Recorders that are shown in full; the others are only counted.
    private static let mostRecorders = 32
    /// Past runs of all recorders together, which is what bounds the size of the page.
    private static let mostRuns = 128

    /// With a nonce of its own; `isUpdate` when a page that is open already fetches what has changed in it.
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
        let words = recorders.map { RecorderWords($0, now: now) }
        let summary = PageSummary(
            recorders.map(\.name),
            words,
            isBlind: report.blindness != nil
        )
        return HTML.document(
            head(summary, nonce: nonce),
            .element(
                "body",
                [:],
                PhaseBar.patterns,
                masthead,
                .element("p", ["id": "connection", "role": "status", "hidden": ""]),
                .element("main", ["data-refresh": refresh], main(summary, words, now: now)),
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

    /// Seconds until the page is fetched again.
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
                link("Metrics", facts.metricsPath),
                link("Health", "/health"),
                link("Shutdowns", "/shutdowns")
            )
        )
    }

    /// Relative, for an exporter behind a proxy that gives it a path of its own.
    private func link(_ name: HTML, _ path: String) -> HTML {
        .element("a", ["href": String(path.dropFirst())], name)
    }

    private func main(_ summary: PageSummary, _ words: [RecorderWords], now: WallTime) -> [HTML] {
        let most = max(4, Self.mostRuns / max(1, recorders.count))
        let sections = zip(recorders, words).prefix(Self.mostRecorders).map {
            RecorderSection(known: $0, words: $1, hidden: hidden, now: now, mostRuns: most).html
        }
        let rest = recorders.count - sections.count
        return [
            .element(
                "h1",
                ["class": summary.tone.rawValue, "role": "status"],
                HTML(summary.sentence)
            ),
            .sequence(notices.map { .element("p", ["class": "notice"], HTML($0)) }),
            recorders.isEmpty ? absence : overview(words),
        ] + sections + [
            rest > 0 ? .element("p", ["class": "note"], "and \(rest) more recorders") : .nothing
        ]
    }

    private var absence: HTML {
        let directory = HTML.element("code", [:], HTML(facts.directory))
        let words: [HTML] =
            if let blindness = report.blindness {
                [directory, " cannot be read: \(blindness.reason). Liveness probes are well."]
            } else {
                report.hasSeenRecorder
                    ? [
                        "The telemetry of every recorder in ", directory,
                        " is gone. \(livenessWords)",
                    ]
                    : ["Nothing has published telemetry in ", directory, " yet. \(livenessWords)"]
            }
        return .element("section", ["class": "recorder"], .element("p", ["class": "detail"], words))
    }

    private var livenessWords: String {
        let verdict =
            if report.hasSeenRecorder {
                "pass"
            } else if report.isWithinStartupGrace {
                "are well during the startup grace"
            } else {
                "fail by now"
            }
        return "Liveness probes \(verdict)."
    }

    /// Where to find each of several recorders.
    private func overview(_ words: [RecorderWords]) -> HTML {
        guard recorders.count > 1 else { return .nothing }
        let items = zip(recorders, words).prefix(Self.mostRecorders).map { known, words in
            HTML.element(
                "li",
                [:],
                .element("a", ["href": "#recorder-\(known.name)"], HTML(known.name)),
                words.tone.badge(words.word)
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
                "streamvault-exporter \(facts.version), up since ",
                PageText.time(facts.started)
            ),
            .element("p", [:], "All times are UTC.")
        )
    }
}
