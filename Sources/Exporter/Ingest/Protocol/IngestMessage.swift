import JSON
import Posix
import StreamVaultTelemetry

/// What a line says; `docs/ingest.md` has the table.
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
    case shutdownBegin(signal: Int32, gracePeriod: Duration?, budgets: [ShutdownPhase])
    case phaseBegin(String)
    case phaseEnd(PhaseOutcome)
    /// Says nothing but that its sender lives, as every line does.
    case heartbeat
    case goodbye(exitStatus: Int32, PhaseOutcome)
}

/// Who speaks.
struct IngestHello: Equatable {
    var name: String
    var version: String
    /// The client's own number of this run, sixteen bytes: by it the run goes on after the exporter's restart.
    var runID: [UInt8]?
    /// `nil` when none is promised: the process is then never taken for hung.
    var heartbeatInterval: Duration?
    var phases: [ShutdownPhase]
}

/// A metric, and the series of it that exist from the start.
struct IngestDeclaration: Equatable {
    var family: MetricFamily
    var series: [[String: String]]
}

/// A series as a message names it.
struct IngestSeries: Equatable {
    var name: String
    var labels: [String: String]
}

/// A recording that starts.
struct IngestRecording: Equatable {
    var id: UInt64
    var stream: String
    var path: String
    var container: String
}
