import JSON
import Posix
import StreamVaultTelemetry

/// A message and whether its sender wants to be told that it took effect.
struct IngestRequest {
    let message: IngestMessage
    let wantsAnswer: Bool

    /// Reads the line that stands in `range`.
    init(_ bytes: [UInt8], in range: Range<Int>) throws(IngestRefusal) {
        let value: JSONValue
        do throws(JSONError) {
            value = try JSONReader.read(bytes, in: range)
        } catch {
            throw IngestRefusal(.json, "not JSON: \(error)")
        }
        var fields = try MessageFields(value)
        let kind = try fields.text("type", most: 64)
        wantsAnswer = try fields.flag("ack")
        message = try IngestMessage(kind, &fields)
        try fields.finish()
    }
}

extension IngestMessage {
    fileprivate init(_ kind: String, _ fields: inout MessageFields) throws(IngestRefusal) {
        switch kind {
        case "hello": self = .hello(try IngestHello(&fields))
        case "state": self = .state(try fields.choice("state", of: RunState.said))
        case "declare": self = .declare(try IngestDeclaration(&fields))
        case "retire": self = .retire(try IngestSeries(&fields))
        case "add": self = .add(try IngestSeries(&fields), try fields.number("value"))
        case "set": self = .set(try IngestSeries(&fields), try fields.number("value"))
        case "observe": self = .observe(try IngestSeries(&fields), try fields.number("value"))
        case "recording_started": self = .recordingStarted(try IngestRecording(&fields))
        case "recording_progress":
            self = .recordingProgress(
                id: try fields.whole("id"),
                bytes: try fields.whole("bytes")
            )
        case "recording_finalizing": self = .recordingFinalizing(id: try fields.whole("id"))
        case "recording_ended":
            let id = try fields.whole("id")
            self = .recordingEnded(id: id, try fields.choice("result", of: RecordingResult.said))
        case "shutdown_begin":
            self = .shutdownBegin(
                signal: Int32(try fields.whole("signal", most: 64, default: 0)),
                gracePeriod: try fields.seconds("grace_period"),
                budgets: try fields.phases()
            )
        case "phase_begin": self = .phaseBegin(try fields.text("phase", most: 31))
        case "phase_end": self = .phaseEnd(try fields.outcome())
        case "heartbeat": self = .heartbeat
        case "goodbye":
            let status = try fields.whole("exit_status", most: 255, default: 0)
            self = .goodbye(exitStatus: Int32(status), try fields.outcome())
        default: throw fields.wrong("type", "is no message: \"\(kind)\"")
        }
    }
}

extension IngestHello {
    fileprivate init(_ fields: inout MessageFields) throws(IngestRefusal) {
        name = try fields.text("name", most: 63)
        version = try fields.text("version", most: 63, default: "")
        runID = try fields.runID()
        heartbeatInterval = try fields.seconds("heartbeat_interval")
        phases = try fields.phases()
    }
}

extension IngestSeries {
    fileprivate init(_ fields: inout MessageFields) throws(IngestRefusal) {
        name = try fields.text("name", most: 72)
        labels = try fields.labels("labels")
    }
}

extension IngestRecording {
    fileprivate init(_ fields: inout MessageFields) throws(IngestRefusal) {
        id = try fields.whole("id")
        stream = try fields.text("stream", most: 63)
        path = try fields.text("path", most: 4096, default: "")
        container = try fields.text("container", most: 7, default: "")
    }
}

extension MessageFields {
    fileprivate mutating func flag(_ name: String) throws(IngestRefusal) -> Bool {
        switch take(name) {
        case nil: return false
        case .boolean(let value): return value
        case .some(let value): throw wrong(name, "must be a boolean, not \(value.kind)")
        }
    }

    /// Takes a UUID, as `uuidgen` and every language's library write it.
    fileprivate mutating func runID() throws(IngestRefusal) -> [UInt8]? {
        let text = try text("run", most: 64, default: "")
        guard !text.isEmpty else { return nil }
        let digits = text.compactMap { $0 == "-" ? nil : $0.hexDigitValue.map(UInt8.init) }
        guard digits.count == 32, text.utf8.count(where: { $0 != UInt8(ascii: "-") }) == 32 else {
            throw wrong("run", "must be a UUID")
        }
        return (0..<16).map { digits[$0 * 2] << 4 | digits[$0 * 2 + 1] }
    }

    fileprivate mutating func phases() throws(IngestRefusal) -> [ShutdownPhase] {
        var phases: [ShutdownPhase] = []
        for (index, item) in try items("phases", most: 16).enumerated() {
            var phase = try MessageFields(item, at: "phases[\(index)]")
            let name = try phase.text("name", most: 31)
            let budget = try phase.seconds("budget")
            try phase.finish()
            guard !name.isEmpty, !phases.contains(where: { ExactText($0.name) == ExactText(name) })
            else {
                throw wrong("phases", "must have different names, and none that is empty")
            }
            phases.append(ShutdownPhase(name, budget: budget ?? .zero))
        }
        return phases
    }

    fileprivate mutating func outcome() throws(IngestRefusal) -> PhaseOutcome {
        try contains("outcome") ? choice("outcome", of: PhaseOutcome.said) : .ok
    }
}

extension RunState {
    fileprivate static var said: KeyValuePairs<String, RunState> {
        ["starting": .starting, "recording": .recording, "draining": .draining]
    }
}

extension RecordingResult {
    fileprivate static var said: KeyValuePairs<String, RecordingResult> {
        ["completed": .completed, "interrupted": .interrupted, "failed": .failed]
    }
}

extension PhaseOutcome {
    fileprivate static var said: KeyValuePairs<String, PhaseOutcome> {
        ["ok": .ok, "error": .error, "timeout": .timeout]
    }
}
