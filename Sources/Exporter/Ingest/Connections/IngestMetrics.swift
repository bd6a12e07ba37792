import Posix
import StreamVaultTelemetry

/// The exporter's metrics about its ingest socket.
final class IngestMetrics {
    private var board = Declarations(created: .now())
    private let declaration: AnyObject = Declaration()
    private let open: Int
    private let accepted: Int
    private let turnedAway: Int
    private let lines: Int
    private let replies: Int
    private let refused: [IngestRefusal.Reason: Int]
    private let republished: [PublisherEvent.Cause: Int]

    private final class Declaration {}

    init() {
        open = board.declare(.ingestOpenConnections)
        accepted = board.declare(.ingestConnections, ["accepted"])
        turnedAway = board.declare(.ingestConnections, ["turned_away"])
        lines = board.declare(.ingestLines)
        var refused: [IngestRefusal.Reason: Int] = [:]
        for reason in IngestRefusal.Reason.allCases {
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

    func countConnection(isTurnedAway: Bool = false) {
        board.words[isTurnedAway ? turnedAway : accepted] += 1
    }

    func note(openConnections: Int) { board.words[open] = UInt64(openConnections) }

    func count(_ answer: IngestSession.Answer) {
        board.words[lines] += 1
        guard case .refused(let refusal) = answer, let word = refused[refusal.reason] else {
            return
        }
        board.words[word] += 1
    }

    func countDroppedReplies() { board.words[replies] += 1 }

    func countRepublished(_ cause: PublisherEvent.Cause) {
        if let word = republished[cause] { board.words[word] += 1 }
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
        help: "Connections to the ingest socket that are open.",
        kind: .gauge
    )
    fileprivate static let ingestConnections = MetricFamily(
        name: "streamvault_exporter_ingest_connections_total",
        help: "Connections to the ingest socket; turned_away: there were too many.",
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
        help: "Lines that had no effect.",
        kind: .counter,
        labels: ["reason"]
    )
    fileprivate static let ingestDroppedReplies = MetricFamily(
        name: "streamvault_exporter_ingest_dropped_replies_total",
        help: "Times that replies were thrown away, because their client did not read.",
        kind: .counter
    )
    fileprivate static let ingestRepublished = MetricFamily(
        name: "streamvault_exporter_ingest_segments_republished_total",
        help: "Segments of ingest runs published in a new file, by what had happened to the file.",
        kind: .counter,
        labels: ["cause"]
    )
}
