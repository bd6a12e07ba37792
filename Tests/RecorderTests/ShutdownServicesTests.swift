import Foundation
import Posix
import StreamVaultTelemetry
import Testing

@testable import Recorder

@Suite("Services in a shutdown", .timeLimit(.minutes(5)))
struct ShutdownServicesTests {
    /// How a service behaves when it is asked to end.
    enum Behaviour: CaseIterable {
        case obeys, hangs, fails
    }

    /// A service that behaves so, and the means to let go of one that hangs.
    private final class Service {
        let running: RunningService
        private let end: StopSignal

        init(_ behaviour: Behaviour, _ wakeup: Wakeup) throws {
            let (asked, end) = (try StopSignal(), try StopSignal())
            let task = try BackgroundTask(named: "service", wakeup) { () throws(SystemError) in
                let never = BootTime(nanoseconds: .max)
                switch behaviour {
                case .obeys: _ = asked.wait(until: never)
                case .hangs: _ = end.wait(until: never)
                case .fails:
                    _ = asked.wait(until: never)
                    throw SystemError(call: "poll", code: EINVAL)
                }
            }
            running = RunningService(tasks: [task]) { _ in asked.request() }
            self.end = end
        }

        deinit { end.request() }
    }

    static let pairs = Behaviour.allCases.flatMap { one in
        Behaviour.allCases.map { (one, $0) }
    }

    @Test(
        "a service that hangs or fails affects no later phase, and the database is closed",
        arguments: pairs
    )
    func independence(_ broadcaster: Behaviour, _ eventSub: Behaviour) throws {
        let bench = try APIBench([.packets("gate", record: .always)], phases: plan.declared)
        bench.registry.open()
        try waitFor("a recording") { bench.registry.active.count == 1 }
        let wakeup = bench.context.wakeup
        let services = [try Service(broadcaster, wakeup), try Service(eventSub, wakeup)]
        var shutdown = Shutdown(
            plan,
            bench.registry,
            bench.context,
            Shutdown.Services(
                broadcaster: services[0].running,
                cleanup: RunningService(tasks: []) { _ in },
                eventSub: services[1].running
            ),
            MainLoop(wakeup)
        )
        let status = try shutdown.run(signal: SIGTERM)
        #expect(status == 0, "services cost no recording")
        let outcomes = bench.context.publisher.endedPhases.map { ($0.name, $0.outcome) }
        #expect(outcomes.map(\.0) == Phase.allCases.map(\.rawValue))
        for (name, outcome) in outcomes {
            switch Phase(rawValue: name) {
            case .broadcaster: #expect(outcome == expected(broadcaster))
            case .eventsub: #expect(outcome == expected(eventSub))
            default: #expect(outcome == .ok, "\(name)")
            }
        }
        let log = try bench.logged()
        #expect(log.contains("✅ Database connections closed"))
        #expect(log.contains("❌ Error stopping broadcaster") == (broadcaster != .obeys))
        #expect(log.contains("❌ Error stopping eventsub") == (eventSub != .obeys))
    }

    /// Long enough for a recording to end on a machine that is busy; services get 0.8 s in it.
    private let plan = ShutdownPlan(gracePeriod: .seconds(30))

    private func expected(_ behaviour: Behaviour) -> PhaseOutcome {
        switch behaviour {
        case .obeys: .ok
        case .hangs: .timeout
        case .fails: .error
        }
    }
}
