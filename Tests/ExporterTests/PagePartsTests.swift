import JSON
import Posix
import Testing

@testable import Exporter
@testable import StreamVaultTelemetry

@Suite("Parts of the page")
struct PagePartsTests {
    @Test(
        "text and attributes are escaped, and controls become U+FFFD",
        arguments: [
            ("plain ünïcode 😀", "plain ünïcode 😀"),
            ("<a href=\"x\">", "&lt;a href=&quot;x&quot;&gt;"),
            ("a & b's", "a &amp; b&#39;s"),
            ("\u{0}\t\n\u{7F}\u{85}", "\u{FFFD}\u{FFFD}\u{FFFD}\u{FFFD}\u{FFFD}"),
            ("\u{202E}x\u{2066}", "\u{FFFD}x\u{FFFD}"), ("&lt;", "&amp;lt;"),
        ]
    )
    func escaping(_ text: String, _ escaped: String) {
        #expect(HTML(text).source == escaped)
        #expect(HTML.element("b", ["title": text]).source == "<b title=\"\(escaped)\"></b>")
        #expect(HTML.element("b", [:], "\(text)").source == "<b>\(escaped)</b>")
    }

    @Test("JSON and help texts show what a terminal would obey as an escape")
    func invisibleCommands() {
        let text = "\u{1B}[31m\u{9B}\u{202E}\u{2028}x"
        let escaped = #"\u001b[31m\u009b\u202e\u2028x"#
        let document = String(decoding: JSONWriter.write(.string(text), .line), as: UTF8.self)
        #expect(document == "\"\(escaped)\"\n")
        let family = MetricFamily(name: "a", help: text, kind: .gauge)
        let header = String(decoding: TextDialect.prometheus.header(of: family), as: UTF8.self)
        #expect(header.contains("# HELP a \(escaped.replacing("\\", with: "\\\\"))\n"))
    }

    @Test("an attribute without a value is left out")
    func attributes() {
        #expect(HTML.void("meta", ["a": nil, "b": ""]).source == "<meta b=\"\">")
    }

    @Test(
        "durations have few digits",
        arguments: [
            (.zero, "0 s"), (.nanoseconds(1), "< 1 ms"), (.milliseconds(1), "1 ms"),
            (.milliseconds(999), "999 ms"), (.seconds(1), "1.0 s"),
            (.milliseconds(59_999), "59.9 s"),
            (.milliseconds(99_999), "99.9 s"), (.seconds(100), "1 m 40 s"),
            (.seconds(3599), "59 m 59 s"), (.seconds(3600), "1 h 0 m"),
            (.seconds(172_799), "47 h 59 m"), (.seconds(172_800), "2 d 0 h"),
            (.nanoseconds(UInt64.max), "213503 d 23 h"),
        ] as [(Duration, String)]
    )
    func durations(_ duration: Duration, _ text: String) {
        #expect(QuantityText.duration(duration).replacing("\u{A0}", with: " ") == text)
    }

    @Test(
        "sizes have three digits",
        arguments: [
            (0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (99_949, "99.9 kB"), (999_999, "999 kB"),
            (6_724_108_544, "6.72 GB"), (.max, "18.4 EB"),
        ] as [(UInt64, String)]
    )
    func bytes(_ count: UInt64, _ text: String) {
        #expect(QuantityText.bytes(count).replacing("\u{A0}", with: " ") == text)
    }

    @Test(
        "settings have no needless fraction",
        arguments: [
            (Duration.seconds(60), "60 s"), (.milliseconds(1500), "1.5 s"),
            (.seconds(300), "5 m 0 s"),
        ]
    )
    func settings(_ duration: Duration, _ text: String) {
        #expect(QuantityText.setting(duration).replacing("\u{A0}", with: " ") == text)
    }

    @Test(
        "a share is whole percent, within bounds",
        arguments: [
            (0.524, "52 %"), (1, "100 %"), (.infinity, "1000 %"), (-1, "0 %"), (.nan, "0 %"),
        ] as [(Double, String)]
    )
    func percent(_ ratio: Double, _ text: String) {
        #expect(QuantityText.percent(ratio).replacing("\u{A0}", with: " ") == text)
    }

    /// Phases with the stamps of a segment that nobody has checked.
    @Test("a bar stays inside of its frame, whatever the stamps are")
    func hostileStamps() {
        let stamps: [UInt64] = [0, 1, 1 << 40, .max]
        for (requested, started) in stamps.flatMap({ one in stamps.map { (one, $0) } }) {
            for (ended, grace) in stamps.flatMap({ one in stamps.map { (one, $0) } }) {
                var lifecycle = Lifecycle()
                lifecycle.requestedBoot = BootTime(nanoseconds: requested)
                lifecycle.gracePeriod = grace
                var phase = PhaseRecord(name: "x", budget: .max)
                phase.state = .ended(.ok)
                phase.started = BootTime(nanoseconds: started)
                phase.ended = BootTime(nanoseconds: ended)
                var running = phase
                running.state = .running
                lifecycle.phases = [phase, running]
                let timeline = ShutdownTimeline(lifecycle, now: BootTime(nanoseconds: 1 << 41))
                let span = max(timeline.grace ?? .zero, timeline.elapsed)
                expectInside(PhaseBar(timeline: timeline, span: span, height: 10).html.source)
            }
        }
    }

    private func expectInside(_ svg: String) {
        let rectangles = svg.matches(of: /x="([0-9.]+)%" y="0" width="([0-9.]+)%"/)
        #expect(rectangles.count >= 3)
        for match in rectangles {
            let (x, width) = (Double(match.1) ?? -1, Double(match.2) ?? -1)
            #expect(x >= 0 && width >= 0 && x + width <= 100.5, "\(svg)")
        }
    }
}
