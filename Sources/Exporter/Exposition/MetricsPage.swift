import StreamVaultTelemetry

/// Renders pages of metrics as text, keeping the page for as long as the same series are declared.
struct MetricsPage {
    private let dialect: TextDialect
    private var page: RenderedPage
    private var planned = PlannedSources()

    init(_ dialect: TextDialect) {
        self.dialect = dialect
        page = RenderedPage(PagePlan([], in: dialect))
    }

    /// The whole page: rendered before any of it is sent, since one bad byte costs the whole scrape.
    mutating func render(_ sources: [MetricSource]) -> [UInt8] {
        if planned.areNew(sources) { page = RenderedPage(PagePlan(sources, in: dialect)) }
        page.show(sources)
        return page.bytes
    }
}
