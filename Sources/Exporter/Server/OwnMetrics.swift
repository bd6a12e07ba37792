import HTTP
import Posix
import StreamVaultTelemetry

/// The exporter's metrics about itself.
struct OwnMetrics {
    private var families: [MetricFamily] = []
    private var series: [SegmentContents.Series] = []
    private var words: [UInt64] = []
    /// Replaced when a series is added.
    private var declaration = Declaration()
    private var requests: [RequestKey: Int] = [:]
    private var rejections: UInt64 = 0
    private var process = ProcessFacts()
    private var processReadAt = BootTime.now()

    /// Read once: computed anew from ticks and two clocks, it would tremble.
    private let startedAt: WallTime
    private let requestFamily: Int
    private let readDuration: Int
    private let evictions: Int
    private let hiddenFamilies: Int
    private let scrapers: Int
    private let finalScrapePending: Int
    private let droppedLogLines: Int
    private let readErrors: [String: Int]
    private let wrongTokens: Int
    private let processWords: Int

    private final class Declaration {}

    /// In the place of a handler's name, for a request that came to none.
    private static let rejected = "rejected"

    private struct RequestKey: Hashable {
        let handler: String
        let code: Int
    }

    /// `statuses` has for each handler those that it can answer with: they are counted from 0.
    init(version: String, statuses: [(handler: String, [Status])]) {
        startedAt = process.startedAt
        var board = Declarations(created: startedAt)
        board.declare(.buildInfo, [version])
        board.words[0] = 1
        readErrors = Dictionary(
            uniqueKeysWithValues: RecorderDirectory.reasons.map {
                ($0, board.declare(.segmentReadErrors, [$0]))
            }
        )
        readDuration = board.declare(.segmentReadDuration)
        evictions = board.declare(.evictions)
        hiddenFamilies = board.declare(.hiddenFamilies)
        scrapers = board.declare(.scrapers)
        finalScrapePending = board.declare(.finalScrapePending)
        wrongTokens = board.declare(.wrongTokens)
        droppedLogLines = board.declare(.droppedLogLines)
        processWords = board.words.count
        for family in MetricFamily.process { board.declare(family) }
        let keys =
            statuses.flatMap { handler, all in
                all.map { RequestKey(handler: handler, code: $0.code) }
            }
            + Rejection.statuses.map { RequestKey(handler: Self.rejected, code: $0.code) }
        for key in keys {
            requests[key] = board.declare(.httpRequests, [key.handler, "\(key.code)"])
        }
        requestFamily = board.families.count - 1
        (families, series, words) = (board.families, board.series, board.words)
    }

    /// Counts a request that was answered.
    mutating func count(handler: String, status: Status) {
        let key = RequestKey(handler: handler, code: status.code)
        let word = requests[key] ?? add(key)
        words[word] += 1
    }

    /// Notes the requests that the server has refused since the start, before any handler saw them.
    mutating func note(rejections: StatusCounts) {
        guard rejections.total != self.rejections else { return }
        self.rejections = rejections.total
        for status in Rejection.statuses {
            guard let word = requests[RequestKey(handler: Self.rejected, code: status.code)] else {
                continue
            }
            words[word] = rejections[status]
        }
    }

    /// Notes the connections that were closed to make room since the start.
    mutating func note(evictions count: UInt64) {
        words[evictions] = count
    }

    /// Notes a look at the segments: how long it took, and what could not be read since the start.
    mutating func note(readNanoseconds: UInt64, errors: [String: UInt64]) {
        words[readDuration] = readNanoseconds
        for (reason, count) in errors {
            if let word = readErrors[reason] { words[word] = count }
        }
    }

    mutating func noteWrongToken() { words[wrongTokens] += 1 }

    mutating func note(droppedLogLines count: UInt64) {
        words[droppedLogLines] += count
    }

    mutating func note(hiddenFamilies count: Int) { words[hiddenFamilies] = UInt64(count) }

    mutating func note(scrapers count: Int, isFinalScrapePending: Bool) {
        words[scrapers] = UInt64(count)
        words[finalScrapePending] = isFinalScrapePending ? 1 : 0
    }

    /// What to render; the process is looked at once a second at most, which costs more than all the rest.
    mutating func source(now: BootTime) -> MetricSource {
        if now.since(processReadAt) >= .seconds(1) {
            (process, processReadAt) = (ProcessFacts(), now)
        }
        let values = [
            process.cpuNanoseconds, process.residentBytes, process.virtualBytes,
            process.openDescriptors, process.mostDescriptors, startedAt.nanoseconds,
        ]
        words.replaceSubrange(processWords..<processWords + values.count, with: values)
        return MetricSource(
            declaration: declaration,
            families: families,
            series: series,
            words: words
        )
    }

    private mutating func add(_ key: RequestKey) -> Int {
        let values = [key.handler, "\(key.code)"]
        series.append(
            .init(
                family: requestFamily,
                values: values,
                word: words.count,
                created: startedAt
            )
        )
        words.append(0)
        requests[key] = words.count - 1
        declaration = Declaration()
        return words.count - 1
    }
}

/// Declares series one after the other, each with the next word.
struct Declarations {
    /// The exporter's start, since when all of it counts.
    let created: WallTime
    var families: [MetricFamily] = []
    var series: [SegmentContents.Series] = []
    var words: [UInt64] = []

    /// The index of the series' word.
    @discardableResult
    mutating func declare(_ family: MetricFamily, _ values: [String] = []) -> Int {
        if families.last != family { families.append(family) }
        series.append(
            .init(
                family: families.count - 1,
                values: values,
                word: words.count,
                created: created
            )
        )
        words.append(0)
        return words.count - 1
    }
}
