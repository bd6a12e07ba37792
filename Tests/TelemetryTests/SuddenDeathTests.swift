import Posix
import Testing

@testable import StreamVaultTelemetry

@Suite("Runs that are killed at any moment")
struct SuddenDeathTests {
    @Test("a run that is killed at any moment is counted exactly", .timeLimit(.minutes(5)))
    func kills() throws {
        let directory = try TemporaryDirectory()
        var reader = SegmentReader(path: directory.segmentPath())
        var random = SystemRandomNumberGenerator()
        var truth = Truth()
        var (killed, inFlight, midRecord) = (0, 0, 0)
        for round in 0..<200 {
            let fixture = try Fixture("live", directory.path, "\(random.next())")
            var journal: [String] = []
            if round % 10 > 0, let line = try fixture.line() { journal.append(line) }
            // At any instruction; the journal then shows at which step.
            let moment =
                BootTime.now().nanoseconds + UInt64.random(in: 0...20_000_000, using: &random)
            while BootTime.now().nanoseconds < moment {}
            if fixture.killAlone() == .signal(9) { killed += 1 }
            journal += try fixture.lines()
            let possible = truth.after(journal)
            let seen = (try? reader.snapshot()).map(Truth.init) ?? Truth()
            guard let index = possible.firstIndex(of: seen) else {
                Issue.record("round \(round): \(journal)\nsaw \(seen)\nnot one of \(possible)")
                return
            }
            inFlight += index.signum()
            if directory.entries.contains("test.telemetry") {
                midRecord += Int(try directory.bytes().word(at: 512) % 2)
            }
            truth = seen
        }
        let last = try directory.start()
        var expected = truth
        expected.values["recorder_runs_total", default: 0] += 1
        #expect(Truth(try reader.snapshot()) == expected)
        #expect(last.warning == nil)
        #expect(directory.entries == ["test.telemetry"])
        #expect(killed > 20)
        print(
            "200 lives: \(killed) killed, \(midRecord) mid-record, \(inFlight) unjournalled",
            truth
        )
    }
}

/// The expected counts according to the journals of the runs.
private struct Truth: Equatable, CustomStringConvertible {
    /// By name and label values; missing ones are 0.
    var values: [String: UInt64] = [:]
    private var openRecordings: UInt64 = 0
    private var phase: Int?
    private var isDegraded = false

    init() {}

    init(_ snapshot: Snapshot) {
        for series in snapshot.contents.series {
            let family = snapshot.contents.families[series.family]
            guard family.kind == .counter || family.kind == .histogram else { continue }
            // Durations depend on the clock; other tests check them.
            if family.kind == .histogram, family.name != "test_seconds" { continue }
            let name = family.name.replacing("streamvault_", with: "")
            let key = ([name] + series.values).joined(separator: " ")
            let cells = snapshot.words[series.word..<series.word + family.wordsPerSeries]
            if family.kind == .histogram {
                values["sum"] = cells[cells.startIndex]
                values["observed"] = cells.dropFirst().reduce(0, +)
            } else {
                values[key] = cells[cells.startIndex]
            }
        }
        values = values.filter { $0.value > 0 }
    }

    var description: String {
        "\(values.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" })"
    }

    /// The possible counts after a run with this journal was killed, the most likely first.
    func after(_ journal: [String]) -> [Truth] {
        guard journal.contains("running") else { return [self, started().dead()] }
        var run = started()
        var steps = journal.filter { $0.hasPrefix("> ") }.map { String($0.dropFirst(2)) }
        let finished = journal.count { $0 == "<" }
        let inFlight = steps.count > finished ? steps.popLast() : nil
        for step in steps { run.apply(step) }
        guard let inFlight else { return [run.dead()] }
        var next = run
        next.apply(inFlight)
        guard inFlight.hasPrefix("observe") else { return [run.dead(), next.dead()] }
        var half = run
        half.values["observed", default: 0] += 1
        return [run.dead(), half.dead(), next.dead()]
    }

    private func started() -> Truth {
        var run = Truth()
        run.values = values
        run.count("recorder_runs_total")
        return run
    }

    private mutating func count(_ key: String, _ amount: UInt64 = 1) {
        if amount > 0 { values[key, default: 0] += amount }
    }

    private mutating func apply(_ step: String) {
        let words = step.split(separator: " ").map(String.init)
        let argument = words.last ?? ""
        switch words[0] {
        case "count": count("test_total", UInt64(argument) ?? 0)
        case "observe":
            count("observed")
            count("sum", UInt64(argument) ?? 0)
        case "declare": count("test_labelled_total \(argument)")
        case "start":
            count("recordings_started_total")
            openRecordings += 1
        case "end":
            count("recordings_finished_total \(argument)")
            openRecordings -= 1
        case "shutdown": phase = 0
        case "phase": endPhase(argument)
        case "goodbye":
            endPhase(argument)
            let isClean = !isDegraded && openRecordings == 0
            count(isClean ? "shutdowns_total clean" : "shutdowns_total degraded")
            phase = .max
        default: break
        }
    }

    private mutating func endPhase(_ outcome: String) {
        guard let phase else { return }
        count("shutdown_phases_total \(Self.phases[phase]) \(outcome)")
        isDegraded = isDegraded || outcome != "ok"
        self.phase = phase + 1
    }

    private static let phases = ["signal", "recordings", "database"]

    /// Including its end.
    private func dead() -> Truth {
        var end = Truth()
        end.values = values
        end.count("recordings_finished_total abandoned", openRecordings)
        switch phase {
        case .none: end.count("crashes_total")
        case .some(.max): break
        case .some(let phase):
            end.count("shutdowns_total killed")
            end.count("shutdown_phases_total \(Self.phases[phase]) killed")
        }
        return end
    }
}
