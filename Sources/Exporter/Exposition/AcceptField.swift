/// What a client would like, from its `Accept` field (RFC 9110 §12.5.1).
///
/// As servers really send it: without `q`, with one above 1 (Prometheus 2.49.0), with a parameter given twice (3.0). What
/// cannot be understood is passed over: a scrape is worth more than a reproach.
struct AcceptField {
    private let ranges: [MediaRange]

    init(_ field: String) {
        ranges = split(field[...], at: ",").map(MediaRange.init)
    }

    /// The most welcome format, of several the one named first; the text format when nothing fits, with status 200.
    var format: ExpositionFormat {
        let offers = ExpositionFormat.allCases.compactMap(offer).sorted {
            ($1.quality, $0.position) < ($0.quality, $1.position)
        }
        return offers.first?.format ?? .text
    }

    /// A format that the client takes, by the range that names it most precisely.
    private struct Offer {
        let format: ExpositionFormat
        let quality: Double
        let position: Int
    }

    private func offer(_ format: ExpositionFormat) -> Offer? {
        var best: (precision: Int, offer: Offer)?
        for (position, range) in ranges.enumerated() {
            guard let precision = range.precision(for: format), precision > best?.precision ?? -1
            else { continue }
            let offer = Offer(format: format, quality: range.quality, position: position)
            best = (precision, offer)
        }
        return best.flatMap { $0.offer.quality > 0 ? $0.offer : nil }
    }
}

/// One kind of content, and how welcome it is.
private struct MediaRange {
    let mediaType: String
    /// Of parameters that are given twice, the first counts.
    private var parameters: [String: String] = [:]

    init(_ text: Substring) {
        let parts = split(text, at: ";").map(trimmed)
        mediaType = parts[0].lowercased()
        for part in parts.dropFirst() {
            guard let mark = part.firstIndex(of: "=") else { continue }
            let name = trimmed(part[..<mark]).lowercased()
            let value = unquoted(trimmed(part[part.index(after: mark)...]))
            if parameters[name] == nil { parameters[name] = value }
        }
    }

    /// From 0, not at all, to 1; what is no number is as good as none.
    var quality: Double {
        guard let given = parameters["q"].flatMap(Double.init), !given.isNaN else { return 1 }
        return min(1, max(0, given))
    }

    /// How precisely this names a format; `nil` when it does not.
    ///
    /// A wildcard means the one format that every client of its kind reads, not whatever there is.
    func precision(for format: ExpositionFormat) -> Int? {
        switch (format, mediaType) {
        case (.text, "*/*"): 0
        case (.text, "text/*"), (.openMetrics, "application/*"): 1
        case (.text, "text/plain"): precision(version: "0.0.4")
        case (.openMetrics, "application/openmetrics-text"): precision(version: "1.0.0")
        case (.protobuf, "application/vnd.google.protobuf")
        where parameters["proto"] == "io.prometheus.client.MetricFamily"
            && parameters["encoding"] == "delimited":
            2
        case (.text, _), (.openMetrics, _), (.protobuf, _): nil
        }
    }

    private func precision(version: String) -> Int? {
        guard let asked = parameters["version"] else { return 2 }
        return asked == version ? 3 : nil
    }
}

/// The parts between separators that do not stand in quotes; at least one.
private func split(_ text: Substring, at separator: Character) -> [Substring] {
    var (parts, start, isQuoted, isEscaped) = ([Substring](), text.startIndex, false, false)
    for index in text.indices {
        if isEscaped {
            isEscaped = false
        } else if isQuoted, text[index] == "\\" {
            isEscaped = true
        } else if text[index] == "\"" {
            isQuoted.toggle()
        } else if text[index] == separator, !isQuoted {
            parts.append(text[start..<index])
            start = text.index(after: index)
        }
    }
    return parts + [text[start...]]
}

/// Without blanks around it.
private func trimmed(_ text: Substring) -> Substring {
    let isBlank: (Character) -> Bool = { $0 == " " || $0 == "\t" }
    let head = text.drop(while: isBlank)
    return head.prefix(head.count - head.reversed().prefix(while: isBlank).count)
}

/// The content of a quoted string; anything else as it is.
private func unquoted(_ text: Substring) -> String {
    guard text.count >= 2, text.first == "\"", text.last == "\"" else { return String(text) }
    var content = ""
    var isEscaped = false
    for character in text.dropFirst().dropLast() {
        isEscaped = character == "\\" && !isEscaped
        if !isEscaped { content.append(character) }
    }
    return content
}
