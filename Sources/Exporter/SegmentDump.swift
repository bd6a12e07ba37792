import JSON
import Posix
import StreamVaultTelemetry

/// A telemetry segment as JSON; the segment may be a copy from another machine.
struct SegmentDump {
    let snapshot: Snapshot

    var json: JSONValue {
        let identity = snapshot.contents.identity
        return [
            "recorder": .string(identity.name), "version": .string(identity.version),
            "run_id": .string(hexadecimal(identity.runID)),
            "boot_id": .string(hexadecimal(identity.bootID.bytes)),
            "started": .seconds(identity.startedWall.nanoseconds),
            "heartbeat": .seconds(identity.wall(snapshot.heartbeat).nanoseconds),
            "heartbeat_interval_seconds": identity.promisesHeartbeats
                ? .seconds(identity.heartbeatInterval) : .null, "owned": .boolean(snapshot.isOwned),
            "relayed": .boolean(identity.isRelayed), "verdict": .string(snapshot.verdict.text),
            "lifecycle": snapshot.contents.lifecycle.json(wall: identity.wall),
            "recordings": .array(snapshot.contents.recordings.map(\.json)),
            "history": .array(snapshot.history.map(\.json)),
            "metrics": .array(snapshot.contents.series.map(metric)),
        ]
    }

    private func metric(_ series: SegmentContents.Series) -> JSONValue {
        let family = snapshot.contents.families[series.family]
        let cells = snapshot.words[series.word..<series.word + family.wordsPerSeries]
        var metric: JSONValue = ["name": .string(family.name)]
        let labels = zip(family.labels, series.values).map {
            JSONMember(name: $0, value: .string($1))
        }
        if !labels.isEmpty { metric["labels"] = .object(labels) }
        if let buckets = family.buckets {
            let sum = Double(cells[cells.startIndex]) / Double(family.scale)
            metric["sum"] = .double(sum)
            let counts = buckets.classicCells.map { bucket in
                cells.dropFirst(1 + bucket.lowerBound).prefix(bucket.count).reduce(0, &+)
            }
            metric["buckets"] = .array(counts.map { .integer($0) })
        } else {
            metric["value"] = family.value(cells[cells.startIndex])
        }
        return metric
    }
}

extension MetricFamily {
    fileprivate func value(_ cell: UInt64) -> JSONValue {
        switch encoding {
        case .double: .double(Double(bitPattern: cell))
        case .integer where scale == 1: .integer(cell)
        case .integer: .double(Double(cell) / Double(scale))
        }
    }
}

extension Verdict {
    /// In one or two words.
    var text: String {
        switch self {
        case .alive: "alive"
        case .hung: "hung"
        case .ended(let end): end.label
        }
    }
}

extension Lifecycle {
    func json(wall: (BootTime) -> WallTime) -> JSONValue {
        let isRequested = requestedBoot.nanoseconds > 0
        return [
            "state": .string("\(state)"), "signal": signal == 0 ? .null : .integer(signal),
            "shutdown_requested": isRequested ? .seconds(requestedWall.nanoseconds) : .null,
            "grace_period_seconds": gracePeriod == 0 ? .null : .seconds(gracePeriod),
            "deadline": deadline.nanoseconds == 0 ? .null : .seconds(wall(deadline).nanoseconds),
            "ended": state == .stopped ? .seconds(endedWall.nanoseconds) : .null,
            "exit_status": state == .stopped ? .integer(exitStatus) : .null,
            "phases": .array(phases.map(\.json)),
        ]
    }
}

extension PhaseRecord {
    fileprivate var json: JSONValue {
        var phase: JSONValue = ["phase": .string(name), "budget_seconds": .seconds(budget)]
        switch state {
        case .pending: phase["state"] = "pending"
        case .running: phase["state"] = "running"
        case .ended(let outcome):
            phase["state"] = .string("\(outcome)")
            phase["duration_seconds"] = .double(ended.since(started).inSeconds)
        }
        return phase
    }
}

extension OpenRecording {
    fileprivate var json: JSONValue {
        [
            "id": .integer(id), "stream": .string(stream), "path": .string(path),
            "container": .string(container), "state": .string("\(state)"),
            "started": .seconds(startedWall.nanoseconds),
        ]
    }
}

extension PastRun {
    var json: JSONValue {
        [
            "run_id": .string(hexadecimal(runID)), "started": .seconds(startedWall.nanoseconds),
            "last_seen": .seconds(wall(lastSeen).nanoseconds), "outcome": .string(end.label),
            "fatal_phase": fatalPhase.map { .string($0.name) } ?? .null,
            "abandoned_recordings": .integer(abandoned),
            "shutdown_duration_seconds": .seconds(shutdownDuration),
            "grace_used_ratio": lifecycle.gracePeriod > 0 ? .double(graceUsed) : .null,
            "phases": .array(ShutdownTimeline(self)?.steps.map(\.json) ?? []),
            "lifecycle": lifecycle.json(wall: wall),
        ]
    }
}

extension ShutdownTimeline.Step {
    /// A phase that was running when the process died has an outcome and a duration too.
    fileprivate var json: JSONValue {
        [
            "phase": .string(name), "outcome": hasBegun ? .string(state.rawValue) : .null,
            "start_seconds": .double(start.inSeconds),
            "duration_seconds": .double(duration.inSeconds),
            "budget_seconds": .double(budget.inSeconds),
        ]
    }
}

extension JSONValue {
    /// Seconds, from a count of nanoseconds.
    fileprivate static func seconds(_ nanoseconds: UInt64) -> JSONValue {
        .double(Double(nanoseconds) / 1e9)
    }
}

private func hexadecimal(_ bytes: [UInt8]) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
}
