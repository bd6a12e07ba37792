import Posix

@testable import StreamVaultTelemetry

/// A segment as `read_segment.py` prints it.
struct Portrait: Decodable {
    struct RunIdentity: Decodable, Equatable {
        let name, version, runId, bootId: String
        let startedBoot, startedWall, heartbeatInterval: UInt64
    }

    struct Phase: Decodable, Equatable {
        let name, state: String
        let budget, started, ended: UInt64
    }

    struct Life: Decodable, Equatable {
        let state: String
        let signal: UInt32
        let requestedBoot, requestedWall, gracePeriod, deadline: UInt64
        let endedBoot, endedWall: UInt64
        let exitStatus: Int32
        let phases: [Phase]
    }

    struct Family: Decodable, Equatable {
        let name, help, kind, encoding, unit: String
        let scale: UInt64
        let labels: [String]
        let bounds: [UInt64]
        /// Schema, lowest and highest power of two.
        let exponential: [Int]?
    }

    struct Series: Decodable, Equatable {
        let name: String
        let labels: [String]
        let cells: [UInt64]
        let created: UInt64
    }

    struct Recording: Decodable, Equatable {
        let id: UInt64
        let stream, path, container, state: String
        let startedBoot, startedWall: UInt64
    }

    struct Past: Decodable, Equatable {
        let runId, end: String
        let startedBoot, startedWall, lastSeen: UInt64
        let abandoned: UInt32
        let lifecycle: Life
    }

    let identity: RunIdentity
    let owned: Bool
    let verdict: String
    let lifecycle: Life
    let families: [Family]
    let series: [Series]
    let recordings: [Recording]
    let ended: [UInt64]
    let history: [Past]
}

extension Portrait {
    init(_ snapshot: Snapshot) {
        let contents = snapshot.contents
        identity = RunIdentity(contents.identity)
        owned = snapshot.isOwned
        verdict =
            switch snapshot.verdict {
            case .alive: "alive"
            case .hung: "hung"
            case .ended(let end): end.label
            }
        lifecycle = Life(contents.lifecycle)
        families = contents.families.map { family in
            Family(
                name: family.name,
                help: family.help,
                kind: "\(family.kind)",
                encoding: "\(family.encoding)",
                unit: family.unit,
                scale: family.scale,
                labels: family.labels,
                bounds: family.buckets?.bounds ?? [],
                exponential: family.buckets?.exponential.map { [$0.schema, $0.lowest, $0.highest] }
            )
        }
        series = contents.series.map { one in
            let family = contents.families[one.family]
            let cells = snapshot.words[one.word..<one.word + family.wordsPerSeries]
            return Series(
                name: family.name,
                labels: one.values,
                cells: Array(cells),
                created: one.created.nanoseconds
            )
        }
        recordings = contents.recordings.map { one in
            Recording(
                id: one.id,
                stream: one.stream,
                path: one.path,
                container: one.container,
                state: "\(one.state)",
                startedBoot: one.startedBoot.nanoseconds,
                startedWall: one.startedWall.nanoseconds
            )
        }
        ended = contents.ended
        history = snapshot.history.map(Past.init)
    }
}

extension Portrait.RunIdentity {
    fileprivate init(_ identity: StreamVaultTelemetry.RunIdentity) {
        (name, version) = (identity.name, identity.version)
        (runId, bootId) = (hexadecimal(identity.runID), hexadecimal(identity.bootID.bytes))
        startedBoot = identity.startedBoot.nanoseconds
        startedWall = identity.startedWall.nanoseconds
        heartbeatInterval = identity.heartbeatInterval
    }
}

extension Portrait.Life {
    fileprivate init(_ life: Lifecycle) {
        (state, signal, exitStatus) = ("\(life.state)", life.signal, life.exitStatus)
        requestedBoot = life.requestedBoot.nanoseconds
        requestedWall = life.requestedWall.nanoseconds
        (gracePeriod, deadline) = (life.gracePeriod, life.deadline.nanoseconds)
        (endedBoot, endedWall) = (life.endedBoot.nanoseconds, life.endedWall.nanoseconds)
        phases = life.phases.map { phase in
            let state =
                switch phase.state {
                case .pending: "pending"
                case .running: "running"
                case .ended(let outcome): "\(outcome)"
                }
            return Portrait.Phase(
                name: phase.name,
                state: state,
                budget: phase.budget,
                started: phase.started.nanoseconds,
                ended: phase.ended.nanoseconds
            )
        }
    }
}

extension Portrait.Past {
    fileprivate init(_ past: PastRun) {
        (runId, end, abandoned) = (hexadecimal(past.runID), past.end.label, past.abandoned)
        startedBoot = past.startedBoot.nanoseconds
        startedWall = past.startedWall.nanoseconds
        lastSeen = past.lastSeen.nanoseconds
        lifecycle = Portrait.Life(past.lifecycle)
    }
}

private func hexadecimal(_ bytes: [UInt8]) -> String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
}
