package import Posix

/// The state that a recorder reports; also a value of `streamvault_recorder_state`.
public enum RunState: UInt32, CaseIterable, Sendable {
    case starting = 1
    case recording
    /// No new recordings start; the recorder exits after the last one has ended.
    case draining
    case stopping
    case stopped

    /// Whether the shutdown has begun.
    var isEnding: Bool { self == .stopping || self == .stopped }
}

/// How a phase of a shutdown ended.
public enum PhaseOutcome: UInt32, CaseIterable, Sendable {
    case ok = 2
    case error
    /// It exceeded its budget.
    case timeout
}

/// One phase of a shutdown.
package struct PhaseRecord: Hashable, Sendable {
    package enum State: Hashable, Sendable {
        case pending, running
        case ended(PhaseOutcome)
    }

    package var name: String
    package var budget: UInt64
    package var state = State.pending
    package var started = BootTime(nanoseconds: 0)
    package var ended = BootTime(nanoseconds: 0)
}

/// The state of one run, from its start to its exit status.
package struct Lifecycle: Hashable, Sendable {
    static let maxPhases = 16
    static let phaseNameBytes = 32
    static let fieldBytes = 64 + maxPhases * 64
    static let stride = RecordCoding.overhead + fieldBytes

    package var state = RunState.starting
    /// Number of the signal that began the shutdown; 0 for none.
    package var signal: UInt32 = 0
    /// When the shutdown was requested; 0 before.
    package var requestedBoot = BootTime(nanoseconds: 0)
    package var requestedWall = WallTime(nanoseconds: 0)
    /// Grace period of the complete shutdown in nanoseconds; 0 if not known.
    package var gracePeriod: UInt64 = 0
    package var deadline = BootTime(nanoseconds: 0)
    package var endedBoot = BootTime(nanoseconds: 0)
    package var endedWall = WallTime(nanoseconds: 0)
    package var exitStatus: Int32 = 0
    package var phases: [PhaseRecord] = []

    /// Index of the phase that is running.
    package var runningPhase: Int? { phases.firstIndex { $0.state == .running } }

    package var isShuttingDown: Bool { state == .stopping }

    /// Whether the process reported an exit status that is not 0 although no shutdown had begun, as when its start fails.
    package var failedWithoutShutdown: Bool {
        state == .stopped && requestedBoot.nanoseconds == 0 && exitStatus != 0
    }
}

extension Lifecycle {
    func write(to writer: inout RecordWriter) {
        writer.integer(state.rawValue)
        writer.integer(signal)
        writer.integer(requestedBoot.nanoseconds)
        writer.integer(requestedWall.nanoseconds)
        writer.integer(gracePeriod)
        writer.integer(deadline.nanoseconds)
        writer.integer(endedBoot.nanoseconds)
        writer.integer(endedWall.nanoseconds)
        writer.integer(exitStatus)
        writer.integer(UInt32(phases.count))
        for index in 0..<Self.maxPhases {
            guard index < phases.count else {
                writer.raw([], width: 64)
                continue
            }
            phases[index].write(to: &writer)
        }
    }

    /// `nil` for unknown states.
    init?(_ record: inout RecordReader) {
        guard let state = RunState(rawValue: record.integer()) else { return nil }
        self.state = state
        signal = record.integer()
        requestedBoot = BootTime(nanoseconds: record.integer())
        requestedWall = WallTime(nanoseconds: record.integer())
        gracePeriod = record.integer()
        deadline = BootTime(nanoseconds: record.integer())
        endedBoot = BootTime(nanoseconds: record.integer())
        endedWall = WallTime(nanoseconds: record.integer())
        exitStatus = record.integer()
        let count = Int(record.integer(UInt32.self))
        guard count <= Self.maxPhases else { return nil }
        for index in 0..<Self.maxPhases {
            guard let phase = PhaseRecord(&record) else { return nil }
            if index < count { phases.append(phase) }
        }
    }
}

extension PhaseRecord {
    fileprivate func write(to writer: inout RecordWriter) {
        writer.text(name, width: Lifecycle.phaseNameBytes)
        writer.integer(state.rawValue)
        writer.integer(UInt32(0))
        writer.integer(budget)
        writer.integer(started.nanoseconds)
        writer.integer(ended.nanoseconds)
    }

    fileprivate init?(_ record: inout RecordReader) {
        name = record.text(width: Lifecycle.phaseNameBytes)
        guard let state = State(rawValue: record.integer()) else { return nil }
        self.state = state
        _ = record.integer(UInt32.self)
        budget = record.integer()
        started = BootTime(nanoseconds: record.integer())
        ended = BootTime(nanoseconds: record.integer())
    }
}

extension PhaseRecord.State {
    fileprivate var rawValue: UInt32 {
        switch self {
        case .pending: 0
        case .running: 1
        case .ended(let outcome): outcome.rawValue
        }
    }

    fileprivate init?(rawValue: UInt32) {
        switch rawValue {
        case 0: self = .pending
        case 1: self = .running
        default:
            guard let outcome = PhaseOutcome(rawValue: rawValue) else { return nil }
            self = .ended(outcome)
        }
    }
}

/// Identifies the run that writes a segment; written once, before the file gets its name.
package struct RunIdentity: Hashable, Sendable {
    static let nameBytes = 64
    static let versionBytes = 64

    package var name: String
    package var version: String
    /// Sixteen random bytes, new for every start.
    package var runID: [UInt8]
    package var bootID: BootID
    package var startedBoot: BootTime
    package var startedWall: WallTime
    /// Promised nanoseconds between two heartbeats; the largest number if none are promised.
    package var heartbeatInterval: UInt64
    /// Whether an exporter holds the lock for a client of its ingest socket, which may outlive that exporter.
    package var isRelayed = false

    package var promisesHeartbeats: Bool { heartbeatInterval < .max }

    /// Wall time of a timestamp of this run; it does not change when the clock is set.
    package func wall(_ time: BootTime) -> WallTime {
        WallTime(
            nanoseconds: startedWall.nanoseconds &+ time.nanoseconds &- startedBoot.nanoseconds
        )
    }

    /// Nanoseconds, modulo 2^64, by which the wall clock was set since the start of the run, if it shows `wall` at `now`.
    ///
    /// In whole seconds: two clocks cannot be read at once, and a timestamp must have the same wall time in every snapshot.
    func clockStep(at now: BootTime, showing wall: WallTime) -> UInt64 {
        let difference = Int64(bitPattern: wall.nanoseconds &- self.wall(now).nanoseconds)
        return UInt64(bitPattern: Int64((Double(difference) / 1e9).rounded()) &* 1_000_000_000)
    }

    /// Whether `name` may name a recorder and its file: `[a-z0-9]([a-z0-9-]*[a-z0-9])?`, at most 63 characters.
    package static func isName(_ name: String) -> Bool {
        guard (1...63).contains(name.utf8.count), name.utf8.first != dash, name.utf8.last != dash
        else { return false }
        return name.utf8.allSatisfy {
            $0 == dash || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0)
                || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
        }
    }

    /// The name of the recorder that the segment file `NAME.telemetry` belongs to; `nil` for any other file.
    package static func name(ofFile file: String) -> String? {
        guard file.hasSuffix(".telemetry") else { return nil }
        let name = String(file.dropLast(".telemetry".count))
        return isName(name) ? name : nil
    }
}

private let dash = UInt8(ascii: "-")
