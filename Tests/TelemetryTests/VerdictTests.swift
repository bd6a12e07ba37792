import Testing

@testable import StreamVaultTelemetry

@Suite("Verdict")
struct VerdictTests {
    struct Case: CustomTestStringConvertible, Sendable {
        let state: RunState
        var phases: [PhaseRecord.State] = []
        var open = 0
        let isOwned: Bool
        var silence: Duration? = .zero
        var overdue: Duration?
        var interval: Duration = .seconds(1)
        let expected: Verdict

        var testDescription: String {
            "\(state) \(phases) open=\(open) owned=\(isOwned) silence=\(String(describing: silence))"
        }
    }

    static let living: [Case] = [.starting, .recording, .draining].flatMap { state in
        [
            Case(state: state, isOwned: true, expected: .alive),
            Case(state: state, isOwned: true, silence: .seconds(10), expected: .alive),
            Case(
                state: state,
                isOwned: true,
                silence: .nanoseconds(10_000_000_001),
                expected: .hung
            ),
            Case(state: state, isOwned: true, silence: nil, expected: .alive),
            Case(
                state: state,
                isOwned: true,
                silence: .seconds(15),
                interval: .seconds(5),
                expected: .alive
            ),
            Case(
                state: state,
                isOwned: true,
                silence: .nanoseconds(15_000_000_001),
                interval: .seconds(5),
                expected: .hung
            ),
            Case(
                state: state,
                isOwned: true,
                silence: .seconds(3600),
                interval: .nanoseconds(UInt64.max),
                expected: .alive
            ),
            Case(state: state, isOwned: false, expected: .ended(.crashed)),
            Case(state: state, open: 2, isOwned: false, silence: nil, expected: .ended(.crashed)),
        ]
    }

    static let stopping: [Case] = [
        Case(state: .stopping, phases: [.running], isOwned: true, expected: .alive),
        Case(
            state: .stopping,
            phases: [.running],
            isOwned: true,
            silence: .seconds(600),
            expected: .alive
        ),
        Case(state: .stopping, isOwned: true, silence: .seconds(601), expected: .hung),
        Case(
            state: .stopping,
            isOwned: true,
            silence: .seconds(3600),
            overdue: .seconds(10),
            expected: .alive
        ),
        Case(
            state: .stopping,
            isOwned: true,
            silence: .seconds(11),
            overdue: .seconds(11),
            expected: .hung
        ),
        Case(
            state: .stopping,
            isOwned: true,
            silence: .seconds(10),
            overdue: .seconds(3600),
            expected: .alive
        ),
        Case(
            state: .stopping,
            isOwned: true,
            silence: .seconds(3600),
            overdue: .seconds(3600),
            interval: .nanoseconds(UInt64.max),
            expected: .alive
        ),
        Case(state: .stopping, isOwned: true, silence: nil, overdue: nil, expected: .alive),
        Case(state: .stopping, phases: [.running], isOwned: false, expected: .ended(.killed)),
        Case(state: .stopping, phases: [.ended(.ok)], isOwned: false, expected: .ended(.killed)),
        Case(state: .stopping, isOwned: false, silence: nil, expected: .ended(.killed)),
    ]

    static let stopped: [Case] = [true, false].flatMap { isOwned in
        [
            Case(state: .stopped, isOwned: isOwned, expected: .ended(.clean)),
            Case(
                state: .stopped,
                phases: [.ended(.ok), .pending],
                isOwned: isOwned,
                expected: .ended(.clean)
            ),
            Case(
                state: .stopped,
                phases: [.ended(.ok)],
                open: 1,
                isOwned: isOwned,
                expected: .ended(.degraded)
            ),
            Case(
                state: .stopped,
                phases: [.ended(.ok), .ended(.timeout)],
                isOwned: isOwned,
                expected: .ended(.degraded)
            ),
            Case(
                state: .stopped,
                phases: [.ended(.error), .ended(.ok)],
                isOwned: isOwned,
                expected: .ended(.degraded)
            ),
            Case(
                state: .stopped,
                phases: [.running],
                isOwned: isOwned,
                expected: .ended(.degraded)
            ),
        ]
    }

    @Test(
        "depends on lifecycle, lock and time since the last heartbeat only",
        arguments: living + stopping + stopped
    )
    func verdict(_ one: Case) {
        var lifecycle = Lifecycle()
        lifecycle.state = one.state
        lifecycle.phases = one.phases.enumerated().map {
            PhaseRecord(name: "p\($0.offset)", budget: 0, state: $0.element)
        }
        let verdict = Verdict.judge(
            lifecycle,
            openRecordings: one.open,
            isOwned: one.isOwned,
            silence: one.silence,
            overdue: one.overdue,
            heartbeatInterval: one.interval
        )
        #expect(verdict == one.expected)
    }
}
