/// Chooses formats by `Accept` fields, and remembers the last choice.
///
/// A scraper sends the same field each time, and reading it costs as much as all the rest of a scrape.
struct Negotiation {
    private var last: (field: String, format: ExpositionFormat)?

    mutating func format(for field: String) -> ExpositionFormat {
        if let last, last.field == field { return last.format }
        let format = AcceptField(field).format
        last = (field, format)
        return format
    }
}
