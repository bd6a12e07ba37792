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
        let words = sources.count == 1 ? sources[0].words : sources.flatMap(\.words)
        plan.write(words.span, to: &page)
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
}

extension PagePlan {
    /// Copies the constant text, and formats a value after each piece of it.
    ///
    /// By spans: slices of arrays would count references for every value, which costs as much as all the rest.
    fileprivate func write(_ words: Span<UInt64>, to page: inout [UInt8]) {
        let text = text.span
        var (copied, total) = (0, UInt64(0))
        for step in steps {
            page.append(text.extracting(copied..<step.textEnd))
            copied = step.textEnd
            let word = words[step.word]
            switch step.value {
            case .count: NumberText.append(word, to: &page)
            case .nanoseconds: NumberText.append(nanoseconds: word, to: &page)
            case .scaled(let scale): NumberText.append(Double(word) / Double(scale), to: &page)
            case .double: NumberText.append(Double(bitPattern: word), to: &page)
            case .bucket(let isFirst):
                total = isFirst ? word : total &+ word
                NumberText.append(total, to: &page)
            case .bucketTotal: NumberText.append(total, to: &page)
            }
        }
        page.append(text.extracting(droppingFirst: copied))
    }
}
