package import Posix

/// A run that has ended, with its outcome as the next run determined it: an entry of the history.
package struct PastRun: Hashable, Sendable {
    /// Number of entries that a segment keeps.
    static let kept = 32
    static let stride = RecordCoding.overhead + 64 + Lifecycle.fieldBytes

    package var runID: [UInt8]
    package var startedBoot: BootTime
    package var startedWall: WallTime
    /// The last heartbeat or the last change of the lifecycle, whichever is later.
    package var lastSeen: BootTime
    package var end: RunOutcome
    /// Number of recordings that were open when it ended.
    package var abandoned: UInt32
    package var lifecycle: Lifecycle

    var fields: [UInt8] {
        var writer = RecordWriter()
        writer.raw(runID, width: 16)
        writer.integer(startedBoot.nanoseconds)
        writer.integer(startedWall.nanoseconds)
        writer.integer(lastSeen.nanoseconds)
        writer.integer(end.rawValue)
        writer.integer(abandoned)
        writer.raw([], width: 16)
        lifecycle.write(to: &writer)
        return writer.bytes
    }

    /// `nil` for an unknown outcome or state.
    init?(_ record: RecordReader) {
        var record = record
        runID = Array(record.raw(width: 16))
        startedBoot = BootTime(nanoseconds: record.integer())
        startedWall = WallTime(nanoseconds: record.integer())
        lastSeen = BootTime(nanoseconds: record.integer())
        let end = RunOutcome(rawValue: record.integer())
        abandoned = record.integer()
        _ = record.raw(width: 16)
        guard let end, let lifecycle = Lifecycle(&record) else { return nil }
        (self.end, self.lifecycle) = (end, lifecycle)
    }

    package init(
        _ identity: RunIdentity,
        _ lifecycle: Lifecycle,
        end: RunOutcome,
        lastSeen: BootTime,
        abandoned: Int
    ) {
        runID = identity.runID
        startedBoot = identity.startedBoot
        startedWall = identity.startedWall
        self.lastSeen = lastSeen
        self.end = end
        self.abandoned = UInt32(clamping: abandoned)
        self.lifecycle = lifecycle
    }
}

extension PastRun {
    /// Wall time of a timestamp of that run.
    package func wall(_ time: BootTime) -> WallTime {
        WallTime(
            nanoseconds: startedWall.nanoseconds &+ time.nanoseconds &- startedBoot.nanoseconds
        )
    }

    /// Nanoseconds from the request to the end, or to `lastSeen` if the process was killed; 0 without a request.
    package var shutdownDuration: UInt64 {
        guard lifecycle.requestedBoot.nanoseconds > 0 else { return 0 }
        let end = lifecycle.endedBoot.nanoseconds > 0 ? lifecycle.endedBoot : lastSeen
        return end.since(lifecycle.requestedBoot).wholeNanoseconds
    }

    /// Fraction of the grace period that the shutdown used; 0 if the grace period is not known.
    package var graceUsed: Double {
        guard lifecycle.gracePeriod > 0 else { return 0 }
        return Double(shutdownDuration) / Double(lifecycle.gracePeriod)
    }

    /// Nanoseconds that a phase took; until `lastSeen` for the phase in which the process was killed.
    package func duration(of phase: PhaseRecord) -> UInt64 {
        switch phase.state {
        case .pending: 0
        case .running: lastSeen.since(phase.started).wholeNanoseconds
        case .ended: phase.ended.since(phase.started).wholeNanoseconds
        }
    }

    /// The phase in which the process was killed.
    package var fatalPhase: PhaseRecord? {
        end == .killed ? lifecycle.runningPhase.map { lifecycle.phases[$0] } : nil
    }
}

/// What a run takes over from the previous one: counts, including the end of that run, and the history.
struct CarriedState {
    struct Series {
        let family: MetricFamily
        let values: [String]
        let created: WallTime
        let cells: [UInt64]
    }

    var series: [Series] = []
    var history: [PastRun] = []

    /// Nothing: there was no previous run.
    init() {}

    /// - Parameter snapshot: of a segment without an owner.
    init(_ snapshot: Snapshot) {
        history = snapshot.history
        series = snapshot.contents.series.compactMap { one in
            let family = snapshot.contents.families[one.family]
            guard family.isCarried else { return nil }
            let cells = snapshot.words[one.word..<one.word + family.wordsPerSeries]
            return Series(
                family: family,
                values: one.values,
                created: one.created,
                cells: Array(cells)
            )
        }
    }
}
