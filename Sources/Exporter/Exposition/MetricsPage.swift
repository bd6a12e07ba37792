import StreamVaultTelemetry

/// Renders pages of metrics in one format, keeping the page for as long as the same series are declared.
struct MetricsPage {
    let format: ExpositionFormat
    private var page: RenderedPage
    private var planned: [(declaration: AnyObject, recorder: String?)] = []
    /// The words of all sources, one behind the other.
    private var words: [UInt64] = []

    init(_ format: ExpositionFormat) {
        self.format = format
        page = RenderedPage(PagePlan([], in: format))
    }

    /// The whole page: rendered before any of it is sent, since one bad byte costs the whole scrape.
    mutating func render(_ sources: [MetricSource]) -> [UInt8] {
        if !isPlanned(sources) {
            page = RenderedPage(PagePlan(sources, in: format))
            planned = sources.map { ($0.declaration, $0.recorder) }
        }
        words.removeAll(keepingCapacity: true)
        for source in sources { words += source.words }
        let all = words
        page.show(all.span)
        return page.bytes
    }

    private func isPlanned(_ sources: [MetricSource]) -> Bool {
        sources.count == planned.count
            && sources.indices.allSatisfy {
                sources[$0].declaration === planned[$0].declaration
                    && sources[$0].recorder == planned[$0].recorder
            }
    }
}
