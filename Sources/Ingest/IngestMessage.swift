import JSON
import Posix
import StreamVaultTelemetry

/// A message of the protocol that `docs/ingest.md` describes.
enum IngestMessage {
    case hello(IngestHello)
    case state(RunState)
    case declare(IngestDeclaration)
    case retire(IngestSeries)
    case add(IngestSeries, JSONNumber)
    case set(IngestSeries, JSONNumber)
    case observe(IngestSeries, JSONNumber)
    case recordingStarted(IngestRecording)
    /// Bytes written since the recording's start.
    case recordingProgress(id: UInt64, bytes: UInt64)
    case recordingFinalizing(id: UInt64)
    case recordingEnded(id: UInt64, RecordingResult)
    case shutdownBegin(signal: Int32, gracePeriod: Duration?, budgets: [PhaseBudget])
    case phaseBegin(String)
    case phaseEnd(PhaseOutcome)
    /// Every line is a heartbeat; this one is nothing else.
    case heartbeat
    case goodbye(exitStatus: Int32, PhaseOutcome)
}

/// The process at the other end.
struct IngestHello: Equatable {
    var name: String
    var version: String
    /// The client's identifier of this run, 16 bytes: after a restart of the exporter, the client continues the run with it.
    var runID: [UInt8]?
    /// `nil` when the process promises none: it is then never considered hung.
    var heartbeatInterval: Duration?
    var phases: [PhaseBudget]
}

/// A metric, and those of its series that exist from the start.
struct IngestDeclaration: Equatable {
    var family: MetricFamily
    var series: [[String: String]]
}

/// A series, identified by its labels in any order.
struct IngestSeries: Equatable {
    var name: String
    var labels: [String: String]
}

/// The start of a recording.
struct IngestRecording: Equatable {
    var id: UInt64
    var stream: String
    var path: String
    var container: String
}

/// A message, and whether its sender requests a reply.
struct IngestRequest {
    let message: IngestMessage
    let wantsReply: Bool

    /// Parses the line in `range`.
    init(_ bytes: [UInt8], in range: Range<Int>) throws(IngestError) {
        let value: JSONValue
        do throws(JSONError) {
            value = try JSONReader.read(bytes, in: range)
        } catch {
            throw IngestError(.json, "not JSON: \(error)")
        }
        var fields = try MessageFields(value)
        let kind = try fields.text("type", max: 64)
        wantsReply = try fields.flag("ack")
        message = try IngestMessage(kind, &fields)
        try fields.finish()
    }
}

extension IngestMessage {
    fileprivate init(_ kind: String, _ fields: inout MessageFields) throws(IngestError) {
        switch kind {
        case "hello": self = .hello(try IngestHello(&fields))
        case "state": self = .state(try fields.choice("state", of: RunState.byName))
        case "declare": self = .declare(try IngestDeclaration(&fields))
        case "retire": self = .retire(try IngestSeries(&fields))
        case "add": self = .add(try IngestSeries(&fields), try fields.number("value"))
        case "set": self = .set(try IngestSeries(&fields), try fields.number("value"))
        case "observe": self = .observe(try IngestSeries(&fields), try fields.number("value"))
        case "recording_started": self = .recordingStarted(try IngestRecording(&fields))
        case "recording_progress":
            self = .recordingProgress(
                id: try fields.integer("id"),
                bytes: try fields.integer("bytes")
            )
        case "recording_finalizing": self = .recordingFinalizing(id: try fields.integer("id"))
        case "recording_ended":
            let id = try fields.integer("id")
            self = .recordingEnded(id: id, try fields.choice("result", of: RecordingResult.byName))
        case "shutdown_begin":
            self = .shutdownBegin(
                signal: Int32(try fields.integer("signal", max: 64, default: 0)),
                gracePeriod: try fields.seconds("grace_period"),
                budgets: try fields.phases()
            )
        case "phase_begin": self = .phaseBegin(try fields.text("phase", max: 31))
        case "phase_end": self = .phaseEnd(try fields.outcome())
        case "heartbeat": self = .heartbeat
        case "goodbye":
            let status = try fields.integer("exit_status", max: 255, default: 0)
            self = .goodbye(exitStatus: Int32(status), try fields.outcome())
        default: throw fields.invalid("type", "is not a message: \"\(kind)\"")
        }
    }
}

extension IngestHello {
    fileprivate init(_ fields: inout MessageFields) throws(IngestError) {
        name = try fields.text("name", max: 63)
        version = try fields.text("version", max: 63, default: "")
        runID = try fields.runID()
        heartbeatInterval = try fields.seconds("heartbeat_interval")
        phases = try fields.phases()
    }
}

extension IngestSeries {
    fileprivate init(_ fields: inout MessageFields) throws(IngestError) {
        name = try fields.text("name", max: 72)
        labels = try fields.labels("labels")
    }
}

extension IngestRecording {
    fileprivate init(_ fields: inout MessageFields) throws(IngestError) {
        id = try fields.integer("id")
        stream = try fields.text("stream", max: 63)
        path = try fields.text("path", max: 4096, default: "")
        container = try fields.text("container", max: 7, default: "")
    }
}

extension MessageFields {
    fileprivate mutating func flag(_ name: String) throws(IngestError) -> Bool {
        switch remove(name) {
        case nil: return false
        case .boolean(let value): return value
        case .some(let value): throw invalid(name, "must be a boolean, not \(value.kind)")
        }
    }

    /// Parses a UUID as `uuidgen` and the libraries of all languages write it.
    fileprivate mutating func runID() throws(IngestError) -> [UInt8]? {
        let text = try text("run", max: 64, default: "")
        guard !text.isEmpty else { return nil }
        let digits = text.compactMap { $0 == "-" ? nil : $0.hexDigitValue.map(UInt8.init) }
        guard digits.count == 32, text.utf8.count(where: { $0 != UInt8(ascii: "-") }) == 32 else {
            throw invalid("run", "must be a UUID")
        }
        return (0..<16).map { digits[$0 * 2] << 4 | digits[$0 * 2 + 1] }
    }

    fileprivate mutating func phases() throws(IngestError) -> [PhaseBudget] {
        var phases: [PhaseBudget] = []
        for (index, item) in try items("phases", max: 16).enumerated() {
            var phase = try MessageFields(item, at: "phases[\(index)]")
            let name = try phase.text("name", max: 31)
            let budget = try phase.seconds("budget")
            try phase.finish()
            guard !name.isEmpty, !phases.contains(where: { ExactText($0.name) == ExactText(name) })
            else {
                throw invalid("phases", "must have distinct names that are not empty")
            }
            phases.append(PhaseBudget(name, budget: budget ?? .zero))
        }
        return phases
    }

    fileprivate mutating func outcome() throws(IngestError) -> PhaseOutcome {
        try contains("outcome") ? choice("outcome", of: PhaseOutcome.byName) : .ok
    }
}

extension RunState {
    fileprivate static var byName: KeyValuePairs<String, RunState> {
        ["starting": .starting, "recording": .recording, "draining": .draining]
    }
}

extension RecordingResult {
    fileprivate static var byName: KeyValuePairs<String, RecordingResult> {
        ["completed": .completed, "interrupted": .interrupted, "failed": .failed]
    }
}

extension PhaseOutcome {
    fileprivate static var byName: KeyValuePairs<String, PhaseOutcome> {
        ["ok": .ok, "error": .error, "timeout": .timeout]
    }
}

extension IngestDeclaration {
    init(_ fields: inout MessageFields) throws(IngestError) {
        family = try MetricFamily(&fields)
        series = try fields.labelSets("series")
        // A metric without labels has one series, which exists from the declaration on.
        if series.isEmpty, family.labels.isEmpty { series = [[:]] }
    }
}

extension MetricFamily {
    fileprivate init(_ fields: inout MessageFields) throws(IngestError) {
        let kind = try fields.choice("metric", of: Kind.byName)
        let unit = try fields.text("unit", max: 16, default: "")
        // Gauges may have any value; counters and histograms of seconds count whole nanoseconds.
        let scale: UInt64 = kind != .gauge && unit == "seconds" ? 1_000_000_000 : 1
        let bounds = kind == .histogram ? try fields.bounds(scale: scale) : []
        self.init(
            name: try fields.text("name", max: 72),
            help: try fields.text("help", max: 200),
            kind: kind,
            encoding: kind == .gauge ? .double : .integer,
            scale: scale,
            unit: unit,
            labels: try fields.texts("labels"),
            bounds: bounds,
            exponential: bounds.isEmpty ? nil : ExponentialBuckets(around: bounds, scale: scale)
        )
        if let validationError { throw IngestError(.message, validationError) }
    }

    /// Whether amounts are durations, of any precision down to the nanosecond.
    var isInSeconds: Bool { scale == 1_000_000_000 }

    /// Why a segment cannot contain it, in one line.
    private var validationError: String? {
        let names = MetricFamily.sampleNames(name, kind, inOpenMetrics: true)
        if names.contains(where: { one in Self.reservedPrefixes.contains(where: one.hasPrefix) }) {
            return
                "\"\(name)\" is reserved, as are all names that begin with streamvault_ or process_"
        }
        if kind == .counter, !name.hasSuffix("_total") {
            return "\"name\" of a counter must end in _total"
        }
        if !unit.isEmpty, !name.hasSuffix("_\(unit)"), !name.hasSuffix("_\(unit)_total") {
            return "\"name\" must end in the unit, before _total"
        }
        if labels.count > 4 { return "\"labels\" has more than 4 items" }
        if isPublishable { return nil }
        return "a name, label or bound of the metric is not valid: see docs/ingest.md"
    }

    private static let reservedPrefixes = [MetricFamily.projectPrefix, "process_"]
}

extension MetricFamily.Kind {
    fileprivate static var byName: KeyValuePairs<String, MetricFamily.Kind> {
        ["counter": .counter, "gauge": .gauge, "histogram": .histogram]
    }
}

extension MessageFields {
    fileprivate mutating func texts(_ name: String) throws(IngestError) -> [String] {
        var texts: [String] = []
        for item in try items(name, max: 64) { texts.append(try text(item, name, max: 103)) }
        return texts
    }

    fileprivate mutating func labelSets(_ name: String) throws(IngestError)
        -> [[String: String]]
    {
        var sets: [[String: String]] = []
        for item in try items(name, max: 512) { sets.append(try labels(item, name)) }
        return sets
    }

    /// Parses upper bounds in ascending order; the default for seconds is that of all durations.
    fileprivate mutating func bounds(scale: UInt64) throws(IngestError) -> [UInt64] {
        let items = try items("bounds", max: 32)
        let inSeconds = scale != 1
        if items.isEmpty, inSeconds { return RunMetrics.durationBounds }
        var bounds: [UInt64] = []
        for item in items {
            guard case .number(let number) = item,
                let bound = inSeconds ? number.nanoseconds : number.integer,
                bound > bounds.last ?? 0 || bounds.isEmpty
            else { throw invalid("bounds", "must be ascending numbers, whole or seconds") }
            bounds.append(bound)
        }
        guard !bounds.isEmpty else { throw invalid("bounds", "is missing") }
        return bounds
    }
}
