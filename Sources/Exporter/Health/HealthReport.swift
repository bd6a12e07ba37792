import JSON
import Posix

/// The health of all recorders of a directory: the worst one decides, all are listed.
struct HealthReport {
    let recorders: [RecorderHealth]
    /// Whether the exporter is so young that a recorder may still come.
    let isWithinStartupGrace: Bool
    /// Why there may be recorders that the exporter does not see; `nil` when there are none.
    let blindness: SystemError?
    /// Whether there was a recorder since the exporter's start, though its telemetry is gone for long.
    let hasSeenRecorder: Bool

    /// `uptime` is the exporter's, which may be up before the recorder is.
    init(
        _ known: [KnownRecorder],
        blindness: SystemError? = nil,
        hasSeenRecorder: Bool = false,
        uptime: Duration,
        _ policy: HealthPolicy
    ) {
        recorders = known.map { RecorderHealth($0, policy) }
        isWithinStartupGrace = uptime <= policy.startupGrace
        (self.blindness, self.hasSeenRecorder) = (blindness, hasSeenRecorder)
    }

    var status: RecorderHealth.Status {
        recorders.map(\.status).max() ?? (toleratesAbsence ? .warn : .fail)
    }

    /// Why there is no recorder.
    var absence: String {
        if let blindness { return "telemetry: \(blindness)" }
        return hasSeenRecorder
            ? "the telemetry of every recorder is gone" : "no recorder has published telemetry yet"
    }

    /// Whether that is no failure: that the exporter cannot see a recorder is no reason to restart one.
    var toleratesAbsence: Bool { isWithinStartupGrace || blindness != nil || hasSeenRecorder }

    /// 200 for pass and warn, 503 for fail: what a liveness probe goes by.
    var httpStatus: Int { status == .fail ? 503 : 200 }

    /// The document, after the names of the Health Check Response Format draft (draft-inadarei-api-health-check-06).
    var json: JSONValue {
        var report: JSONValue = ["status": .string(status.rawValue)]
        if recorders.isEmpty { report["output"] = .string(absence) }
        report["recorders"] = .array(recorders.map(\.json))
        return report
    }
}

extension RecorderHealth {
    fileprivate var json: JSONValue {
        var health: JSONValue = [
            "recorder": .string(name), "status": .string(status.rawValue), "state": .string(state),
        ]
        health["output"] = note.map { .string($0) }
        health["active_recordings"] = activeRecordings.map { .integer($0) }
        health["heartbeat_age_seconds"] = heartbeatAge.map { .double($0.inSeconds) }
        if let shutdown {
            health["phase"] = shutdown.phase.map { .string($0) } ?? .null
            health["elapsed_seconds"] = .double(shutdown.elapsed.inSeconds)
            health["left_seconds"] = shutdown.left.map { .double($0.inSeconds) } ?? .null
        }
        return health
    }
}
