import StreamVaultTelemetry

/// Renders pages of metrics as text, keeping the page for as long as the same series are declared.
struct MetricsPage {
    private let dialect: TextDialect
    private var page: RenderedPage
    private var planned = PlannedSources()
    /// The words of all sources, one behind the other.
    private var words: [UInt64] = []

    init(_ dialect: TextDialect) {
        self.dialect = dialect
        page = RenderedPage(PagePlan([], in: dialect))
    }

    /// The whole page: rendered before any of it is sent, since one bad byte costs the whole scrape.
    mutating func render(_ sources: [MetricSource]) -> [UInt8] {
        if planned.areNew(sources) { page = RenderedPage(PagePlan(sources, in: dialect)) }
        words.removeAll(keepingCapacity: true)
        for source in sources { words += source.words }
        let all = words
        page.show(all.span)
        return page.bytes
    }
}
