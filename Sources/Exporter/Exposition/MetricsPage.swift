import StreamVaultTelemetry

/// Renders pages of metrics, keeping the constant text from page to page.
struct MetricsPage {
    static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    private var plan = PagePlan([])
    private var planned: [(declaration: AnyObject, recorder: String?)] = []
    private var size = 0

    /// The whole page: rendered before any of it is sent, since one bad byte costs the whole scrape.
    mutating func render(_ sources: [MetricSource]) -> [UInt8] {
        if !isPlanned(sources) {
            plan = PagePlan(sources)
            planned = sources.map { ($0.declaration, $0.recorder) }
        }
        var page: [UInt8] = []
        page.reserveCapacity(max(size, plan.text.count * 5 / 4))
        var copied = 0
        for step in plan.steps {
            page += plan.text[copied..<step.textEnd]
            copied = step.textEnd
            Self.append(step, sources[step.source].words, to: &page)
        }
        page += plan.text[copied...]
        size = page.count
        return page
    }

    private func isPlanned(_ sources: [MetricSource]) -> Bool {
        sources.count == planned.count
            && sources.indices.allSatisfy {
                sources[$0].declaration === planned[$0].declaration
                    && sources[$0].recorder == planned[$0].recorder
            }
    }

    private static func append(_ step: PagePlan.Step, _ words: [UInt64], to page: inout [UInt8]) {
        let word = step.word
        switch step.value {
        case .count: NumberText.append(words[word], to: &page)
        case .nanoseconds: NumberText.append(nanoseconds: words[word], to: &page)
        case .scaled(let scale):
            NumberText.append(Double(words[word]) / Double(scale), to: &page)
        case .double: NumberText.append(Double(bitPattern: words[word]), to: &page)
        case .cumulative(let cells):
            var total: UInt64 = 0
            for cell in word..<word + cells { total &+= words[cell] }
            NumberText.append(total, to: &page)
        }
    }
}
