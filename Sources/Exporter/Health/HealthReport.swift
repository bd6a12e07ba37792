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
    var json: JSONText {
        var members: [(String, JSONText)] = [("status", .text(status.rawValue))]
        if recorders.isEmpty { members.append(("output", .text(absence))) }
        members.append(("recorders", .array(recorders.map(\.json))))
        return .object(members)
    }
}

extension RecorderHealth {
    fileprivate var json: JSONText {
        var members: [(String, JSONText)] = [
            ("recorder", .text(name)), ("status", .text(status.rawValue)), ("state", .text(state)),
        ]
        if let note { members.append(("output", .text(note))) }
        if let activeRecordings {
            members.append(("active_recordings", .integer(Int64(activeRecordings))))
        }
        if let heartbeatAge {
            members.append(("heartbeat_age_seconds", .number(heartbeatAge.inSeconds)))
        }
        if let shutdown {
            members += [
                ("phase", .optional(shutdown.phase, JSONText.text)),
                ("elapsed_seconds", .number(shutdown.elapsed.inSeconds)),
                ("left_seconds", .optional(shutdown.left) { .number($0.inSeconds) }),
            ]
        }
        return .object(members)
    }
}
