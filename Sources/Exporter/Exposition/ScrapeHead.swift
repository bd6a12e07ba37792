import HTTP

/// What the head of a scrape says: which format is wanted, and by whom.
struct ScrapeHead {
    let format: ExpositionFormat
    let kind: ScraperKind

    init(_ request: Request) {
        format = AcceptField(request.header("Accept") ?? "").format
        kind = ScraperKind(request)
    }
}

/// Reads the heads of scrapes, and remembers the last.
///
/// A scraper sends the same head each time, and reading its fields costs as much as all the rest of a scrape.
struct ScrapeHeadReader {
    private var last: (request: Request, head: ScrapeHead)?

    mutating func read(_ request: Request) -> ScrapeHead {
        if let last, request.hasHead(of: last.request) { return last.head }
        let head = ScrapeHead(request)
        last = (request, head)
        return head
    }
}
