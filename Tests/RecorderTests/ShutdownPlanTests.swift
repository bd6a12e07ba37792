import Posix
import Testing

@testable import Recorder

@Suite("Time of a shutdown")
struct ShutdownPlanTests {
    static let gracePeriods: [Duration] = [.seconds(3), .seconds(10), .seconds(30), .seconds(60)]

    @Test("all budgets and the margin fit the grace period", arguments: gracePeriods)
    func fits(_ gracePeriod: Duration) {
        let plan = ShutdownPlan(gracePeriod: gracePeriod)
        let budgets = Phase.allCases.map { plan.budget(of: $0) }
        #expect(budgets.allSatisfy { $0 > .zero })
        let total = budgets.reduce(plan.margin, +)
        #expect(total <= gracePeriod + .microseconds(1), "\(total)")
    }

    @Test("a long grace period gives each phase its full budget, without a warning")
    func enough() {
        let plan = ShutdownPlan(gracePeriod: .seconds(60))
        #expect(Phase.allCases.allSatisfy { plan.budget(of: $0) == $0.fullBudget })
        #expect(plan.shortGraceWarning == nil)
        #expect(ShutdownPlan(gracePeriod: .seconds(10)).shortGraceWarning == "7.0s of 30.0s")
    }

    @Test(
        "later phases keep their budgets, whatever the earlier ones took",
        arguments: gracePeriods
    )
    func reserve(_ gracePeriod: Duration) {
        let plan = ShutdownPlan(gracePeriod: gracePeriod)
        let start = BootTime(nanoseconds: 1_000_000_000_000)
        var now = start
        for phase in Phase.allCases {
            let deadline = plan.deadline(of: phase, from: now, requestedAt: start)
            let slice = deadline.since(now)
            let lost = plan.budget(of: phase) - slice
            #expect(lost < .milliseconds(1), "\(phase) has \(slice)")
            now = deadline  // Each phase overruns.
        }
        // Even then the watchdog does not come first, and SIGKILL comes later.
        #expect(now < start.advanced(by: plan.totalTime))
        #expect(plan.totalTime < gracePeriod)
        #expect(now <= start.advanced(by: gracePeriod))
    }

    @Test("after the last deadline no phase waits, so that the exit comes before the SIGKILL")
    func late() {
        let plan = ShutdownPlan(gracePeriod: .seconds(60))
        let start = BootTime(nanoseconds: 1_000_000_000_000)
        let late = start.advanced(by: .seconds(59))
        #expect(plan.deadline(of: .recordings, from: late, requestedAt: start) < late)
        #expect(plan.deadline(of: .database, from: late, requestedAt: start) < late)
    }

    @Test("pauses between attempts double up to half a minute")
    func backoff() {
        var pause = Backoff()
        let pauses = (0..<9).map { _ in pause.next() }
        #expect(pauses.first == .milliseconds(500))
        #expect(pauses[3] == .seconds(4))
        #expect(pauses.last == .seconds(30))
    }

    @Test("the steps that stop a program fit a short budget in the same proportions")
    func stages() {
        let fitted = StopStep.standard.fitted(into: .milliseconds(2500))
        #expect(fitted.map(\.timeout) == [.seconds(1), .seconds(1), .milliseconds(500)])
        #expect(fitted.map(\.signal) == StopStep.standard.map(\.signal))
        #expect(StopStep.standard.fitted(into: .seconds(60)) == StopStep.standard)
    }
}
