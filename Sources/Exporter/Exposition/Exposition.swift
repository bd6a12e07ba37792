import HTTP
import StreamVaultTelemetry

/// A format of the page of metrics.
enum ExpositionFormat: CaseIterable {
    /// The Prometheus text format 0.0.4.
    case text
    /// OpenMetrics 1.0.0, as text.
    case openMetrics
    /// `MetricFamily` messages of Prometheus, each after its length: the format with native histograms.
    case protobuf

    /// Verbatim: Prometheus 3 fails a scrape whose content type it does not know.
    var contentType: String {
        switch self {
        case .text: "text/plain; version=0.0.4; charset=utf-8"
        case .openMetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8"
        case .protobuf:
            "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
        }
    }
}

// MARK: - Requests

/// The head of a scrape: the format that is wanted, and the client.
struct ScrapeRequest {
    let format: ExpositionFormat
    let identity: ScraperIdentity

    init(_ request: Request) {
        format = AcceptField(request.header("Accept") ?? "").format
        identity = ScraperIdentity(request)
    }
}

/// Parses the heads of scrapes, and remembers the last one.
///
/// A scraper sends the same head each time. Parsing its fields takes 430,000 instructions, beside 75,000 for everything
/// else in a scrape of 267 series.
struct ScrapeRequestReader {
    private var last: (request: Request, scrape: ScrapeRequest)?

    mutating func read(_ request: Request) -> ScrapeRequest {
        if let last, request.hasHead(of: last.request) { return last.scrape }
        let scrape = ScrapeRequest(request)
        last = (request, scrape)
        return scrape
    }
}

/// The formats that a client accepts, from its `Accept` field (RFC 9110 §12.5.1).
///
/// Servers send it without `q`, with a `q` above 1 (Prometheus 2.49.0), or with a repeated parameter (3.0). What cannot be
/// parsed is ignored, because a scrape in another format is better than none.
struct AcceptField {
    private let ranges: [MediaRange]

    init(_ field: String) {
        ranges = split(field[...], at: ",").map(MediaRange.init)
    }

    /// The preferred format, of several the one listed first; the text format, with status 200, when none matches.
    var format: ExpositionFormat {
        let offers = ExpositionFormat.allCases.compactMap(offer).sorted {
            ($1.quality, $0.position) < ($0.quality, $1.position)
        }
        return offers.first?.format ?? .text
    }

    /// An accepted format, by the range that names it most precisely.
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

/// A media range and its weight.
private struct MediaRange {
    private let mediaType: String
    /// Of a repeated parameter, the first counts.
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

    /// From 0, not acceptable, to 1; an invalid weight counts as 1, like a missing one.
    var quality: Double {
        guard let given = parameters["q"].flatMap(Double.init), !given.isNaN else { return 1 }
        return min(1, max(0, given))
    }

    /// How precisely this names a format; `nil` when it does not.
    ///
    /// A wildcard stands for the one format that every client of its kind can read.
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
        guard let requested = parameters["version"] else { return 2 }
        return requested == version ? 3 : nil
    }
}

/// The parts between separators outside of quotes; at least one.
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

/// Without spaces and tabs at either end.
private func trimmed(_ text: Substring) -> Substring {
    let isBlank: (Character) -> Bool = { $0 == " " || $0 == "\t" }
    let head = text.drop(while: isBlank)
    return head.prefix(head.count - head.reversed().prefix(while: isBlank).count)
}

/// The content of a quoted string; any other text unchanged.
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

// MARK: - Sources

/// Families, series and values of one origin: the segment of a recorder, or the exporter itself.
struct MetricSource {
    /// The identity of the declarations: families and series are the same as long as this is the same object.
    let declaration: AnyObject
    /// Value of the label `recorder`; `nil` for the exporter's own metrics.
    let recorder: String?
    let families: [MetricFamily]
    let series: [SegmentContents.Series]
    /// The cells of the series, by their word.
    let words: [UInt64]
    /// `nil` for the exporter, whose metrics are all shown.
    let hidden: VisibleFamilies.Indexes?

    /// The metrics of a recorder; when its segment cannot be read, the last values that were, and `recorder_up 0`.
    init(_ recorder: KnownRecorder, hidden: VisibleFamilies.Indexes) {
        (self.recorder, self.hidden) = (recorder.name, hidden)
        guard let snapshot = recorder.snapshot else {
            declaration = Self.neverRead
            families = [RunMetrics.recorderUp]
            series = [.init(family: 0, values: [], word: 0)]
            words = [0]
            return
        }
        declaration = snapshot.contents
        families = snapshot.contents.families
        series = snapshot.contents.series
        words = recorder.failure == nil ? snapshot.words : snapshot.wordsWhenUnreadable
    }

    private final class NeverRead: Sendable {}
    private static let neverRead = NeverRead()

    /// The exporter's own metrics.
    init(
        declaration: AnyObject,
        families: [MetricFamily],
        series: [SegmentContents.Series],
        words: [UInt64]
    ) {
        (self.declaration, recorder, hidden) = (declaration, nil, nil)
        (self.families, self.series, self.words) = (families, series, words)
    }
}

/// Detects that a page must be laid out again.
struct PageSources {
    private var known: [(declaration: AnyObject, recorder: String?)] = []

    /// Records the sources of a page; `false` when they are the same as at the last call, except for values.
    mutating func update(_ sources: [MetricSource]) -> Bool {
        let isSame =
            sources.count == known.count
            && sources.indices.allSatisfy {
                sources[$0].declaration === known[$0].declaration
                    && sources[$0].recorder == known[$0].recorder
            }
        if !isSame { known = sources.map { ($0.declaration, $0.recorder) } }
        return !isSame
    }
}

/// The series of one family from all sources: a page must not interleave families.
struct FamilyGroup {
    struct Member {
        let source: Int
        /// As its source declares it: labels, bounds and encoding may differ from the group's.
        let family: MetricFamily
        let series: SegmentContents.Series
    }

    /// Name, help, type and unit of all members.
    let family: MetricFamily
    var members: [Member] = []

    /// The families by name, without those that `VisibleFamilies` hides.
    static func sorted(_ sources: [MetricSource], in dialect: TextDialect) -> [FamilyGroup] {
        var groups: [String: FamilyGroup] = [:]
        for (index, source) in sources.enumerated() {
            for series in source.series
            where source.hidden?.hides(series.family, in: dialect) != true {
                let family = source.families[series.family]
                groups[
                    family.name,
                    default: FamilyGroup(family: RunMetrics.fixedFamilies[family.name] ?? family)
                ].members.append(Member(source: index, family: family, series: series))
            }
        }
        return groups.values.sorted { $0.family.name < $1.family.name }
    }

    /// The labels of a series, `recorder` first.
    static func labels(
        _ family: MetricFamily,
        _ values: [String],
        recorder: String?
    ) -> [(name: String, value: String)] {
        var labels = recorder.map { [(name: "recorder", value: $0)] } ?? []
        for (name, value) in zip(family.labels, values) { labels.append((name, value)) }
        return labels
    }
}
