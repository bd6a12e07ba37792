import Glibc
import Posix
import StreamVaultTelemetry

/// A state in which an exporter may find its telemetry directory.
package enum Scene: String, CaseIterable, Sendable {
    case empty, starting, recording, stalled, draining, stopping, late, hung
    case clean, degraded, killed, crashed, unreadable, several, hostile

    /// Puts it into a directory; its recorders live as long as the result.
    package func set(in directory: String) throws -> [StagedRun] {
        switch self {
        case .empty: []
        case .unreadable: try Self.unreadable(in: directory)
        case .several:
            try ["yard": Scene.stopping, "gate": .recording, "attic": .killed]
                .flatMap { try Self.run($1, $0, in: directory).map { [$0] } ?? [] }
        case .starting, .recording, .stalled, .draining, .stopping, .late, .hung, .clean, .degraded,
            .killed, .crashed, .hostile:
            try Self.run(self, "cam-1", in: directory).map { [$0] } ?? []
        }
    }

    /// What is left of a recorder once it is dead stays in its segment.
    private static func run(_ scene: Scene, _ name: String, in directory: String) throws
        -> StagedRun?
    {
        if scene != .starting && scene != .hostile { try past(of: name, in: directory) }
        let phases = scene == .hostile ? hostilePhases : StagedRun.phases
        let version = scene == .hostile ? "</title><script>alert(1)</script>" : "1.4.2"
        let run = try StagedRun(
            name,
            in: directory,
            age: scene == .starting ? .seconds(2) : .seconds(4 * 3600 + 1320),
            version: version,
            phases: phases
        )
        scene.play(run)
        return scene.isAlive ? run : nil
    }

    /// Whether the recorder's process runs on, or has said goodbye.
    private var isAlive: Bool { self != .killed && self != .crashed }

    private func play(_ run: StagedRun) {
        guard self != .starting else { return }
        run.enter(self == .draining ? .draining : .recording)
        record(run)
        switch self {
        case .empty, .starting, .recording, .stalled, .draining, .crashed, .unreadable, .several:
            break
        case .hung: run.beat(.seconds(47))
        case .stopping, .late, .killed, .clean, .degraded, .hostile: shutDown(run)
        }
    }

    private func record(_ run: StagedRun) {
        let stall = self == .stalled ? Duration.seconds(252) : .milliseconds(400)
        guard self != .hostile else {
            let tag = "<script>alert(\"x\")</script>"
            run.record(1, tag, since: .seconds(600), bytes: 1, path: "\"/><img src=x onerror=a>")
            run.record(2, "\u{202E}gnp.&amp;\u{0}\n'", since: .seconds(60), bytes: .max)
            return
        }
        run.record(41, "gate", since: .seconds(15_090), bytes: 6_724_108_544)
        run.record(42, "yard-north", since: .seconds(2880), bytes: 1_288_490_188, lastWrite: stall)
        run.record(43, "loading-dock", since: .seconds(31), bytes: 9_437_184)
    }

    private func shutDown(_ run: StagedRun) {
        switch self {
        case .stopping:
            run.finalize(42)
            run.close(43, .interrupted)
            run.shutDown(.milliseconds(18_400), [(.ok, .milliseconds(1)), (nil, .zero)])
        case .late:
            run.close(42, .interrupted)
            run.close(43, .interrupted)
            run.finalize(41)
            run.shutDown(.seconds(71), Self.slowSteps + [(nil, .zero)])
        case .killed:
            run.finalize(41)
            run.close(43, .interrupted)
            run.shutDown(.seconds(94), [(.ok, .milliseconds(1)), (nil, .zero)])
            run.beat(.seconds(34))
        case .degraded:
            run.close(42, .interrupted)
            run.close(43, .failed)
            run.shutDown(.seconds(64), Self.slowSteps + [(.ok, .milliseconds(140))])
            run.finish(exitStatus: 1)
        case .hostile: run.shutDown(.seconds(3), [(.error, .seconds(1)), (nil, .zero)])
        case .clean:
            for id in 41...43 { run.close(UInt64(id), .interrupted) }
            run.shutDown(.seconds(42), Self.quickSteps)
            run.finish(exitStatus: 0)
        case .empty, .starting, .recording, .stalled, .draining, .hung, .crashed, .unreadable,
            .several:
            break
        }
    }

    private static let quickSteps: [(PhaseOutcome?, Duration)] = [
        (.ok, .microseconds(380)), (.ok, .milliseconds(6120)), (.ok, .milliseconds(41)),
        (.ok, .milliseconds(12)), (.ok, .milliseconds(230)), (.ok, .milliseconds(310)),
    ]

    private static let slowSteps: [(PhaseOutcome?, Duration)] = [
        (.ok, .microseconds(410)), (.timeout, .milliseconds(30_002)), (.ok, .milliseconds(38)),
        (.error, .milliseconds(204)), (.timeout, .milliseconds(1001)),
    ]

    private static let hostilePhases = [
        PhaseBudget("</td><b onclick=x>\n", budget: .seconds(1)),
        PhaseBudget("\"'&<>", budget: .seconds(1)),
    ]

    /// Runs that came before, one of each end.
    private static func past(of name: String, in directory: String) throws {
        for (days, end) in [(6, stop), (4, crash), (2, stopBadly), (1, die)] {
            let ended = Duration.seconds(days * 86_400 - 4000)
            end(try StagedRun(name, in: directory, age: .seconds(21_600), ended: ended))
        }
    }

    private static func stop(_ run: StagedRun) {
        run.shutDown(.milliseconds(6714), quickSteps)
        run.finish(exitStatus: 0)
    }

    private static func stopBadly(_ run: StagedRun) {
        run.shutDown(.milliseconds(31_400), slowSteps + [(.ok, .milliseconds(90))])
        run.finish(exitStatus: 1)
    }

    private static func die(_ run: StagedRun) {
        run.record(7, "gate", since: .seconds(3600), bytes: 1)
        run.record(8, "yard-north", since: .seconds(3600), bytes: 1)
        run.shutDown(.seconds(10), grace: .seconds(10), [(.ok, .milliseconds(1)), (nil, .zero)])
    }

    private static func crash(_ run: StagedRun) {
        run.enter(.recording)
        run.record(3, "gate", since: .seconds(3600), bytes: 1)
    }

    private static func unreadable(in directory: String) throws -> [StagedRun] {
        let path = "\(directory)/cam-1.telemetry"
        let file = try FileDescriptor(opening: path, O_CREAT | O_WRONLY)
        try file.writeAll(Array("no segment".utf8).span)
        return []
    }
}
