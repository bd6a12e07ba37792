import Posix
import StreamVaultTelemetry

/// A segment as JSON: also one that was copied out of a dead pod.
struct SegmentDump {
    let snapshot: Snapshot

    var json: JSONText {
        let identity = snapshot.contents.identity
        return .object([
            ("recorder", .text(identity.name)),
            ("version", .text(identity.version)),
            ("run_id", .text(hexadecimal(identity.runID))),
            ("boot_id", .text(hexadecimal(identity.bootID.bytes))),
            ("started", .seconds(identity.startedWall.nanoseconds)),
            ("heartbeat", .seconds(identity.wall(snapshot.heartbeat).nanoseconds)),
            (
                "heartbeat_interval_seconds",
                identity.promisesHeartbeats ? .seconds(identity.heartbeatInterval) : .null
            ),
            ("owned", .bool(snapshot.isOwned)),
            ("relayed", .bool(identity.isRelayed)),
            ("verdict", .text(snapshot.verdict.text)),
            ("lifecycle", snapshot.contents.lifecycle.json(wall: identity.wall)),
            ("recordings", .array(snapshot.contents.recordings.map(\.json))),
            ("history", .array(snapshot.history.map(\.json))),
            ("metrics", .array(snapshot.contents.series.map(metric))),
        ])
    }

    private func metric(_ series: SegmentContents.Series) -> JSONText {
        let family = snapshot.contents.families[series.family]
        let cells = snapshot.words[series.word..<series.word + family.wordsPerSeries]
        let labels = zip(family.labels, series.values).map { ($0, JSONText.text($1)) }
        var members: [(String, JSONText)] = [("name", .text(family.name))]
        if !labels.isEmpty { members.append(("labels", .object(labels))) }
        if let buckets = family.buckets {
            let sum = Double(cells[cells.startIndex]) / Double(family.scale)
            members.append(("sum", .number(sum)))
            let counts = buckets.classicCells.map { bucket in
                cells.dropFirst(1 + bucket.lowerBound).prefix(bucket.count).reduce(0, &+)
            }
            members.append(("buckets", .array(counts.map(JSONText.unsigned))))
        } else {
            members.append(("value", family.value(cells[cells.startIndex])))
        }
        return .object(members)
    }
}

extension MetricFamily {
    fileprivate func value(_ cell: UInt64) -> JSONText {
        switch encoding {
        case .double: .number(Double(bitPattern: cell))
        case .integer where scale == 1: .unsigned(cell)
        case .integer: .number(Double(cell) / Double(scale))
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
    func json(wall: (BootTime) -> WallTime) -> JSONText {
        let wasAsked = requestedBoot.nanoseconds > 0
        return .object([
            ("state", .text("\(state)")),
            ("signal", signal == 0 ? .null : .unsigned(UInt64(signal))),
            ("shutdown_requested", wasAsked ? .seconds(requestedWall.nanoseconds) : .null),
            ("grace_period_seconds", gracePeriod == 0 ? .null : .seconds(gracePeriod)),
            (
                "deadline",
                deadline.nanoseconds == 0 ? .null : .seconds(wall(deadline).nanoseconds)
            ),
            ("ended", state == .stopped ? .seconds(endedWall.nanoseconds) : .null),
            ("exit_status", state == .stopped ? .integer(Int64(exitStatus)) : .null),
            ("phases", .array(phases.map(\.json))),
        ])
    }
}

extension PhaseRecord {
    fileprivate var json: JSONText {
        let duration = ended.since(started).inSeconds
        var members: [(String, JSONText)] = [
            ("phase", .text(name)), ("budget_seconds", .seconds(budget)),
        ]
        switch state {
        case .pending: members.append(("state", "pending"))
        case .running: members.append(("state", "running"))
        case .ended(let outcome):
            members += [("state", .text("\(outcome)")), ("duration_seconds", .number(duration))]
        }
        return .object(members)
    }
}

extension OpenRecording {
    fileprivate var json: JSONText {
        .object([
            ("id", .unsigned(id)), ("stream", .text(stream)), ("path", .text(path)),
            ("container", .text(container)), ("state", .text("\(state)")),
            ("started", .seconds(startedWall.nanoseconds)),
        ])
    }
}

extension PastRun {
    var json: JSONText {
        .object([
            ("run_id", .text(hexadecimal(runID))),
            ("started", .seconds(startedWall.nanoseconds)),
            ("last_seen", .seconds(wall(lastSeen).nanoseconds)),
            ("outcome", .text(end.label)),
            ("fatal_phase", .optional(fatalPhase?.name, JSONText.text)),
            ("abandoned_recordings", .unsigned(UInt64(abandoned))),
            ("shutdown_duration_seconds", .seconds(shutdownDuration)),
            ("grace_used_ratio", lifecycle.gracePeriod > 0 ? .number(graceUsed) : .null),
            ("phases", .array(ShutdownStory(self)?.steps.map(\.json) ?? [])),
            ("lifecycle", lifecycle.json(wall: wall)),
        ])
    }
}

extension ShutdownStory.Step {
    /// As it went: also the phase that death cut short has an outcome and a duration.
    fileprivate var json: JSONText {
        .object([
            ("phase", .text(name)), ("outcome", hasBegun ? .text(state.rawValue) : .null),
            ("start_seconds", .number(start.inSeconds)),
            ("duration_seconds", .number(duration.inSeconds)),
            ("budget_seconds", .number(budget.inSeconds)),
        ])
    }
}

private func hexadecimal(_ bytes: [UInt8]) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
}
