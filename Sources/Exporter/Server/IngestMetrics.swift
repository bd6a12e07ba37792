import Ingest
import Posix
import StreamVaultTelemetry

/// The exporter's metrics of its ingest socket.
struct IngestMetrics {
    private var board = Declarations(created: .now())
    private let declaration: AnyObject = Declaration()
    private let open: Int
    private let accepted: Int
    private let rejected: Int
    private let lines: Int
    private let replies: Int
    private let refused: [IngestError.Reason: Int]
    private let republished: [PublisherEvent.Cause: Int]

    private final class Declaration {}

    init() {
        open = board.declare(.ingestOpenConnections)
        accepted = board.declare(.ingestConnections, ["accepted"])
        rejected = board.declare(.ingestConnections, ["turned_away"])
        lines = board.declare(.ingestLines)
        var refused: [IngestError.Reason: Int] = [:]
        for reason in IngestError.Reason.allCases {
            refused[reason] = board.declare(.ingestRefusedLines, [reason.rawValue])
        }
        self.refused = refused
        replies = board.declare(.ingestDroppedReplies)
        var republished: [PublisherEvent.Cause: Int] = [:]
        for cause in PublisherEvent.Cause.allCases {
            republished[cause] = board.declare(.ingestRepublished, [cause.rawValue])
        }
        self.republished = republished
    }

    mutating func note(_ counters: IngestCounters) {
        board.words[open] = UInt64(counters.openConnections)
        board.words[accepted] = counters.accepted
        board.words[rejected] = counters.rejected
        board.words[lines] = counters.lines
        board.words[replies] = counters.droppedReplies
        for (reason, word) in refused { board.words[word] = counters.refusedLines[reason] ?? 0 }
        for (cause, word) in republished { board.words[word] = counters.republished[cause] ?? 0 }
    }

    /// What to render.
    var source: MetricSource {
        MetricSource(
            declaration: declaration,
            families: board.families,
            series: board.series,
            words: board.words
        )
    }
}

extension MetricFamily {
    fileprivate static let ingestOpenConnections = MetricFamily(
        name: "streamvault_exporter_ingest_open_connections",
        help: "Open connections to the ingest socket.",
        kind: .gauge
    )
    fileprivate static let ingestConnections = MetricFamily(
        name: "streamvault_exporter_ingest_connections_total",
        help:
            "Connections to the ingest socket. turned_away: closed at once, because there were too many.",
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
        help: "Refused lines, which have no effect.",
        kind: .counter,
        labels: ["reason"]
    )
    fileprivate static let ingestDroppedReplies = MetricFamily(
        name: "streamvault_exporter_ingest_dropped_replies_total",
        help: "Times that replies were discarded, because their client did not read.",
        kind: .counter
    )
    fileprivate static let ingestRepublished = MetricFamily(
        name: "streamvault_exporter_ingest_segments_republished_total",
        help: "Segments of ingest runs published in a new file, by what happened to the old one.",
        kind: .counter,
        labels: ["cause"]
    )
}
