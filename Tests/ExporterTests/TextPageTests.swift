import StreamVaultTelemetry
import Testing

@testable import Exporter

private final class Declared {}

/// A source of one series a family, all with the same label values.
private func source(_ families: [MetricFamily], _ values: [String], _ words: [UInt64])
    -> MetricSource
{
    var next = 0
    let series = families.indices.map { index in
        defer { next += families[index].wordsPerSeries }
        return SegmentContents.Series(family: index, values: values, word: next)
    }
    return MetricSource(declaration: Declared(), families: families, series: series, words: words)
}

/// A histogram in nanoseconds.
private func waits(_ bounds: [UInt64], _ exponential: ExponentialBuckets? = nil) -> MetricFamily {
    MetricFamily(
        name: "wait_seconds",
        help: "Waits.",
        kind: .histogram,
        scale: 1_000_000_000,
        bounds: bounds,
        exponential: exponential
    )
}

private func page(_ sources: [MetricSource]) -> String {
    var page = TextPage(.prometheus)
    return String(decoding: page.render(sources), as: UTF8.self)
}

@Suite("A page of metrics")
struct TextPageTests {
    @Test("a family of each kind, as the text format has it")
    func kinds() {
        let wait = waits([1_000_000, 500_000_000, 120_000_000_000])
        let families = [
            wait, MetricFamily(name: "b_total", help: "B.", kind: .counter),
            MetricFamily(name: "a_ratio", help: "A.", kind: .gauge, encoding: .double),
        ]
        let words = [1_500_000_000, 1, 2, 0, 4] + [7, (0.25).bitPattern]
        #expect(
            page([source(families, [], words)]) == """
                # HELP a_ratio A.
                # TYPE a_ratio gauge
                a_ratio 0.25
                # HELP b_total B.
                # TYPE b_total counter
                b_total 7
                # HELP wait_seconds Waits.
                # TYPE wait_seconds histogram
                wait_seconds_bucket{le="0.001"} 1
                wait_seconds_bucket{le="0.5"} 3
                wait_seconds_bucket{le="120.0"} 3
                wait_seconds_bucket{le="+Inf"} 7
                wait_seconds_sum 1.5
                wait_seconds_count 7

                """
        )
    }

    @Test("what would break a line is escaped")
    func escapes() {
        let family = MetricFamily(
            name: "a",
            help: "back\\slash\nline \"q\"",
            kind: .gauge,
            labels: ["l"]
        )
        #expect(
            page([source([family], ["back\\slash\nline \"q\""], [1])]) == """
                # HELP a back\\\\slash\\nline "q"
                # TYPE a gauge
                a{l="back\\\\slash\\nline \\"q\\""} 1

                """
        )
    }

    @Test(
        "one family of several sources stands together, each series with the labels of its source"
    )
    func merging() {
        let counter = MetricFamily(name: "a_total", help: "A.", kind: .counter, labels: ["of"])
        let other = MetricFamily(name: "b", help: "B.", kind: .gauge, labels: ["of"])
        let wider = MetricFamily(
            name: "b",
            help: "B.",
            kind: .gauge,
            encoding: .double,
            labels: ["from"]
        )
        let sources = [
            source([counter, other], ["one"], [1, 2]), source([other, counter], ["two"], [3, 4]),
            source([wider], ["three"], [(0.5).bitPattern]),
        ]
        #expect(
            page(sources) == """
                # HELP a_total A.
                # TYPE a_total counter
                a_total{of="one"} 1
                a_total{of="two"} 4
                # HELP b B.
                # TYPE b gauge
                b{of="one"} 2
                b{of="two"} 3
                b{from="three"} 0.5

                """
        )
    }

    @Test("a page that is patched is the page that is made anew", .timeLimit(.minutes(5)))
    func patching() {
        let wait = waits(
            [1_000_000, 500_000_000],
            ExponentialBuckets(schema: 1, lowest: -4, highest: 2)
        )
        let families = [
            wait, MetricFamily(name: "b_total", help: "B.", kind: .counter),
            MetricFamily(name: "a", help: "A.", kind: .gauge, encoding: .double),
        ]
        let wordCount = families.reduce(0) { $0 + $1.wordsPerSeries }
        let first = source(families, [], [UInt64](repeating: 0, count: wordCount))
        var (words, patched) = (first.words, TextPage(.prometheus))
        var protobuf = ProtobufPage()
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<2000 {
            let changed = Int.random(in: words.indices, using: &generator)
            let limit = UInt64(1) << UInt64.random(in: 0...40, using: &generator)
            words[changed] = .random(in: 0...limit, using: &generator)
            let now = MetricSource(
                declaration: first.declaration,
                families: first.families,
                series: first.series,
                words: words
            )
            var anew = TextPage(.prometheus)
            #expect(patched.render([now]) == anew.render([now]))
            var messagesAnew = ProtobufPage()
            #expect(protobuf.render([now]) == messagesAnew.render([now]))
        }
    }

    @Test("the text is kept as long as the declarations stay, and made anew when they change")
    func planning() {
        let family = MetricFamily(name: "a", help: "A.", kind: .gauge)
        let first = source([family], [], [1])
        let grown = MetricSource(
            declaration: first.declaration,
            families: first.families,
            series: first.series,
            words: [2]
        )
        var page = TextPage(.prometheus)
        #expect(String(decoding: page.render([first]), as: UTF8.self).hasSuffix("a 1\n"))
        #expect(String(decoding: page.render([grown]), as: UTF8.self).hasSuffix("a 2\n"))
        let renamed = source([MetricFamily(name: "b", help: "B.", kind: .gauge)], [], [3])
        #expect(String(decoding: page.render([renamed]), as: UTF8.self).hasSuffix("b 3\n"))
    }
}
