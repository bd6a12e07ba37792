import HTTP
import Ingest
import Posix
import StreamVaultTelemetry

/// The exporter's own metrics: its requests, its reads of segments, its process, and its ingest socket if there is one.
struct ExporterMetrics {
    private var table: MetricTable
    private var requests: [RequestKey: Int] = [:]
    private var totalRejections: UInt64 = 0
    private var process = ProcessStatistics()
    private var processReadAt = BootTime.now()

    /// Read once: calculated again from ticks and two clocks, the value would jitter.
    private let startedAt: WallTime
    private let readErrors: [String: Int]
    private let readDuration: Int
    private let evictions: Int
    private let hiddenFamilies: Int
    private let scrapers: Int
    private let finalScrapePending: Int
    private let wrongTokens: Int
    private let droppedLogLines: Int
    private let firstProcessWord: Int
    private let requestFamily: Int
    private let ingest: IngestWords?

    private struct RequestKey: Hashable {
        let handler: String
        let code: Int

        /// For requests that the server refused before any handler.
        static func rejected(_ status: Status) -> RequestKey {
            RequestKey(handler: "rejected", code: status.code)
        }
    }

    /// The words of the ingest socket's metrics.
    private struct IngestWords {
        let openConnections: Int
        let accepted: Int
        let rejected: Int
        let lines: Int
        let refusedLines: [IngestError.Reason: Int]
        let droppedReplies: Int
        let republished: [PublisherEvent.Cause: Int]

        init(in table: inout MetricTable) {
            openConnections = table.add(.ingestOpenConnections)
            accepted = table.add(.ingestConnections, ["accepted"])
            rejected = table.add(.ingestConnections, ["turned_away"])
            lines = table.add(.ingestLines)
            refusedLines = table.add(.ingestRefusedLines, IngestError.Reason.allCases)
            droppedReplies = table.add(.ingestDroppedReplies)
            republished = table.add(.ingestRepublished, PublisherEvent.Cause.allCases)
        }
    }

    /// `statuses` lists for each handler the statuses of its responses: they are counted from 0.
    init(version: String, statuses: [(handler: String, [Status])], hasIngest: Bool = false) {
        startedAt = process.startedAt
        var table = MetricTable(created: startedAt)
        let buildInfo = table.add(.buildInfo, [version])
        table.words[buildInfo] = 1
        var readErrors: [String: Int] = [:]
        for reason in RecorderDirectory.reasons {
            readErrors[reason] = table.add(.segmentReadErrors, [reason])
        }
        self.readErrors = readErrors
        readDuration = table.add(.segmentReadDuration)
        evictions = table.add(.evictions)
        hiddenFamilies = table.add(.hiddenFamilies)
        scrapers = table.add(.scrapers)
        finalScrapePending = table.add(.finalScrapePending)
        wrongTokens = table.add(.wrongTokens)
        droppedLogLines = table.add(.droppedLogLines)
        firstProcessWord = table.words.count
        for family in Self.processFamilies { _ = table.add(family) }
        ingest = hasIngest ? IngestWords(in: &table) : nil
        for (handler, statuses) in statuses {
            for status in statuses {
                let key = RequestKey(handler: handler, code: status.code)
                requests[key] = table.add(.httpRequests, [handler, "\(key.code)"])
            }
        }
        for status in Rejection.statuses {
            let key = RequestKey.rejected(status)
            requests[key] = table.add(.httpRequests, [key.handler, "\(key.code)"])
        }
        requestFamily = table.families.count - 1
        self.table = table
    }

    /// Counts a response.
    mutating func count(handler: String, status: Status) {
        let key = RequestKey(handler: handler, code: status.code)
        let word = requests[key] ?? add(key)
        table.words[word] += 1
    }

    private mutating func add(_ key: RequestKey) -> Int {
        let word = table.append([key.handler, "\(key.code)"], toFamily: requestFamily)
        requests[key] = word
        return word
    }

    mutating func countWrongToken() { table.words[wrongTokens] += 1 }

    mutating func count(droppedLogLines count: UInt64) { table.words[droppedLogLines] += count }

    /// Copies the totals of the server.
    mutating func update(_ counters: Counters) {
        table.words[evictions] = counters.evicted
        guard counters.rejections.total != totalRejections else { return }
        totalRejections = counters.rejections.total
        for status in Rejection.statuses {
            guard let word = requests[.rejected(status)] else { continue }
            table.words[word] = counters.rejections[status]
        }
    }

    /// Copies the totals of the ingest socket.
    mutating func update(_ counters: IngestCounters) {
        guard let ingest else { return }
        table.words[ingest.openConnections] = UInt64(counters.openConnections)
        table.words[ingest.accepted] = counters.accepted
        table.words[ingest.rejected] = counters.rejected
        table.words[ingest.lines] = counters.lines
        table.words[ingest.droppedReplies] = counters.droppedReplies
        for (reason, count) in counters.refusedLines {
            if let word = ingest.refusedLines[reason] { table.words[word] = count }
        }
        for (cause, count) in counters.republished {
            if let word = ingest.republished[cause] { table.words[word] = count }
        }
    }

    /// Records a read of all segments; `errors` are totals.
    mutating func update(readDuration duration: Duration, errors: [String: UInt64]) {
        table.words[readDuration] = duration.wholeNanoseconds
        for (reason, count) in errors {
            if let word = readErrors[reason] { table.words[word] = count }
        }
    }

    mutating func update(hiddenFamilies count: Int) { table.words[hiddenFamilies] = UInt64(count) }

    mutating func update(scrapers count: Int, isFinalScrapePending: Bool) {
        table.words[scrapers] = UInt64(count)
        table.words[finalScrapePending] = isFinalScrapePending ? 1 : 0
    }

    /// The metrics to render; the process is examined once a second at most, because that takes longer than a scrape.
    mutating func source(now: BootTime) -> MetricSource {
        if now.since(processReadAt) >= .seconds(1) {
            (process, processReadAt) = (ProcessStatistics(), now)
        }
        let values = [
            process.cpuNanoseconds, process.residentBytes, process.virtualBytes,
            process.openDescriptors, process.maxDescriptors, startedAt.nanoseconds,
        ]
        let words = firstProcessWord..<firstProcessWord + values.count
        table.words.replaceSubrange(words, with: values)
        return MetricSource(
            declaration: table.declaration,
            families: table.families,
            series: table.series,
            words: table.words
        )
    }
}

/// Families and series, each series with the next word.
private struct MetricTable {
    /// Replaced when a series is added.
    private(set) var declaration = Declaration()
    private(set) var families: [MetricFamily] = []
    private(set) var series: [SegmentContents.Series] = []
    var words: [UInt64] = []
    /// The time from which everything counts.
    private let created: WallTime

    final class Declaration {}

    init(created: WallTime) {
        self.created = created
    }

    /// Adds a series to the last family, or to a new one.
    ///
    /// - Returns: the index of its word.
    mutating func add(_ family: MetricFamily, _ values: [String] = []) -> Int {
        if families.last != family { families.append(family) }
        return append(values, toFamily: families.count - 1)
    }

    /// Adds a series for each value of a label.
    mutating func add<Value: RawRepresentable<String> & Hashable>(
        _ family: MetricFamily,
        _ values: [Value]
    ) -> [Value: Int] {
        var words: [Value: Int] = [:]
        for value in values { words[value] = add(family, [value.rawValue]) }
        return words
    }

    mutating func append(_ values: [String], toFamily family: Int) -> Int {
        let word = words.count
        series.append(.init(family: family, values: values, word: word, created: created))
        words.append(0)
        declaration = Declaration()
        return word
    }
}

extension MetricFamily {
    fileprivate static let buildInfo = MetricFamily(
        name: "streamvault_exporter_build_info",
        help: "1, with the exporter's version.",
        kind: .gauge,
        labels: ["version"]
    )
    fileprivate static let httpRequests = MetricFamily(
        name: "streamvault_exporter_http_requests_total",
        help: "Requests answered. handler rejected: they violated HTTP or a limit.",
        kind: .counter,
        labels: ["handler", "code"]
    )
    fileprivate static let evictions = MetricFamily(
        name: "streamvault_exporter_http_evictions_total",
        help: "Connections closed to make room for others, or for their responses.",
        kind: .counter
    )
    fileprivate static let segmentReadErrors = MetricFamily(
        name: "streamvault_exporter_segment_read_errors_total",
        help: "Failed reads of telemetry segments. missing: seen before;"
            + " too_many, no_room: beyond the exporter's limits.",
        kind: .counter,
        labels: ["reason"]
    )
    fileprivate static let segmentReadDuration = MetricFamily(
        name: "streamvault_exporter_segment_read_duration_seconds",
        help: "Duration of the last read of all telemetry segments.",
        kind: .gauge,
        scale: 1_000_000_000,
        unit: "seconds"
    )
    fileprivate static let hiddenFamilies = MetricFamily(
        name: "streamvault_exporter_hidden_families",
        help: "Metrics that recorders declare and that are not shown,"
            + " because their names have another meaning.",
        kind: .gauge
    )
    fileprivate static let scrapers = MetricFamily(
        name: "streamvault_exporter_scrapers",
        help: "Scrapers seen in the last five minutes; at its end the exporter waits for each.",
        kind: .gauge
    )
    fileprivate static let finalScrapePending = MetricFamily(
        name: "streamvault_exporter_final_scrape_pending",
        help: "1 while the exporter only waits for the final state of a recorder to be scraped.",
        kind: .gauge
    )
    fileprivate static let wrongTokens = MetricFamily(
        name: "streamvault_exporter_wrong_tokens_total",
        help: "Requests with a wrong bearer token.",
        kind: .counter
    )
    fileprivate static let droppedLogLines = MetricFamily(
        name: "streamvault_exporter_log_dropped_lines_total",
        help: "Log lines dropped because standard output was full, blocked or failed.",
        kind: .counter
    )
    fileprivate static let ingestOpenConnections = MetricFamily(
        name: "streamvault_exporter_ingest_open_connections",
        help: "Open connections to the ingest socket.",
        kind: .gauge
    )
    fileprivate static let ingestConnections = MetricFamily(
        name: "streamvault_exporter_ingest_connections_total",
        help: "Connections to the ingest socket. turned_away: closed at once,"
            + " because there were too many.",
        kind: .counter,
        labels: ["result"]
    )
    fileprivate static let ingestLines = MetricFamily(
        name: "streamvault_exporter_ingest_lines_total",
        help: "Lines read from the ingest socket.",
        kind: .counter
    )
    fileprivate static let ingestRefusedLines = MetricFamily(
        name: "streamvault_exporter_ingest_refused_lines_total",
        help: "Lines of the ingest socket that were refused and had no effect.",
        kind: .counter,
        labels: ["reason"]
    )
    fileprivate static let ingestDroppedReplies = MetricFamily(
        name: "streamvault_exporter_ingest_dropped_replies_total",
        help: "Times that replies were discarded because their client did not read.",
        kind: .counter
    )
    fileprivate static let ingestRepublished = MetricFamily(
        name: "streamvault_exporter_ingest_segments_republished_total",
        help: "Segments of ingest clients published in a new file,"
            + " by what happened to the previous file.",
        kind: .counter,
        labels: ["cause"]
    )
}

extension ExporterMetrics {
    /// The usual metrics of a process, in the order of `source`.
    static let processFamilies = [
        MetricFamily(
            name: "process_cpu_seconds_total",
            help: "User and system CPU time of the exporter.",
            kind: .counter,
            scale: 1_000_000_000,
            unit: "seconds"
        ),
        MetricFamily(
            name: "process_resident_memory_bytes",
            help: "Resident memory of the exporter.",
            kind: .gauge,
            unit: "bytes"
        ),
        MetricFamily(
            name: "process_virtual_memory_bytes",
            help: "Virtual memory of the exporter.",
            kind: .gauge,
            unit: "bytes"
        ),
        MetricFamily(
            name: "process_open_fds",
            help: "Open descriptors of the exporter.",
            kind: .gauge
        ),
        MetricFamily(
            name: "process_max_fds",
            help: "Maximum number of open descriptors of the exporter.",
            kind: .gauge
        ),
        MetricFamily(
            name: "process_start_time_seconds",
            help: "Start time of the exporter.",
            kind: .gauge,
            scale: 1_000_000_000,
            unit: "seconds"
        ),
    ]
}
