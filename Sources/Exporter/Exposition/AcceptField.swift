/// What a client would like, from its `Accept` field (RFC 9110 §12.5.1).
///
/// As servers really send it: without `q`, with one above 1 (Prometheus 2.49.0), with a parameter given twice (3.0). What
/// cannot be understood is passed over: a scrape is worth more than a reproach.
struct AcceptField {
    /// One kind of content, and how welcome it is.
    fileprivate struct Clause {
        let mediaType: String
        var version: String?
        /// From 0, not at all, to 1.
        var quality = 1.0
    }

    fileprivate let clauses: [Clause]

    init(_ field: String) {
        clauses = field.split(separator: ",").map { Clause($0) }
    }

    /// The most welcome format, of several the one named first; the text format when nothing fits, with status 200.
    var format: ExpositionFormat {
        var best: (format: ExpositionFormat, quality: Double)?
        for clause in clauses {
            guard let format = clause.format, clause.quality > best?.quality ?? 0 else { continue }
            best = (format, clause.quality)
        }
        return best?.format ?? .text
    }
}

extension AcceptField.Clause {
    fileprivate init(_ text: Substring) {
        let parts = text.split(separator: ";", omittingEmptySubsequences: false).map(trimmed)
        mediaType = parts[0].lowercased()
        for part in parts.dropFirst() {
            let pair = part.split(separator: "=", maxSplits: 1).map(trimmed)
            guard pair.count == 2 else { continue }
            switch pair[0].lowercased() {
            case "q":
                let given = Double(pair[1]) ?? 1
                quality = given.isNaN ? 1 : min(1, max(0, given))
            case "version": version = pair[1]
            default: continue
            }
        }
    }

    fileprivate var format: ExpositionFormat? {
        switch (mediaType, version) {
        case ("application/openmetrics-text", nil), ("application/openmetrics-text", "1.0.0"):
            .openMetrics
        case ("text/plain", nil), ("text/plain", "0.0.4"), ("text/*", _), ("*/*", _): .text
        default: nil
        }
    }
}

/// Without blanks around it, and without quotes.
private func trimmed(_ text: Substring) -> String {
    let isNoise: (Character) -> Bool = { $0 == " " || $0 == "\t" || $0 == "\"" }
    let head = text.drop(while: isNoise)
    return String(head.prefix(head.count - head.reversed().prefix(while: isNoise).count))
}
