import Posix
import Testing

@testable import Fetch
@testable import Recorder

@Suite("wait-idle")
struct IdleCheckTests {
    private typealias Answer = Result<RecorderActivity?, FetchError>

    private static func answer(_ state: String, active: Int) -> Answer {
        .success(
            RecorderActivity(isSafeToUpdate: active == 0, state: state, message: "\(active)")
        )
    }

    private static let refused = Answer.failure(.network("refused"))
    private static let foreign = Answer.success(nil)

    @Test(
        "the last answer decides, together with the state in the one before",
        arguments: [
            ([answer("recording", active: 0)], .idle), ([answer("recording", active: 2)], .busy),
            ([answer("draining", active: 1)], .busy), ([answer("draining", active: 0)], .idle),
            ([.failure(.http(status: 503))], .busy), ([.failure(.http(status: 404))], .unknown),
            ([refused], .unknown), ([answer("recording", active: 1), refused], .unknown),
            ([answer("draining", active: 1), refused], .unknown),
            ([answer("draining", active: 1), refused, refused], .idle),
            ([answer("stopping", active: 1), refused, refused], .idle),
            ([answer("draining", active: 1), refused, answer("draining", active: 1)], .busy),
            ([answer("draining", active: 1), foreign, foreign], .unknown),
            ([answer("draining", active: 1), refused, foreign, refused], .unknown),
            ([answer("draining", active: 1), .failure(.timedOut)], .unknown),
            ([answer("draining", active: 1), .failure(.timedOut), refused], .unknown),
            ([answer("draining", active: 1), answer("recording", active: 1), refused], .unknown),
        ] as [([Result<RecorderActivity?, FetchError>], IdleCheck.Outcome)]
    )
    func outcome(
        _ answers: [Result<RecorderActivity?, FetchError>],
        _ expected: IdleCheck.Outcome
    ) {
        var check = IdleCheck()
        var outcome = IdleCheck.Outcome.unknown
        for answer in answers { outcome = check.apply(answer, at: .now()) }
        #expect(outcome == expected)
    }

    @Test("it gives up ten seconds after the first failure in a row")
    func timeout() {
        var check = IdleCheck()
        let start = BootTime(nanoseconds: 1_000_000_000_000)
        _ = check.apply(Self.refused, at: start)
        _ = check.apply(Self.refused, at: start.advanced(by: .seconds(4)))
        #expect(check.end == start.advanced(by: .seconds(10)))
        _ = check.apply(Self.answer("recording", active: 1), at: start.advanced(by: .seconds(5)))
        #expect(check.end == nil)
        _ = check.apply(.failure(.http(status: 503)), at: start.advanced(by: .seconds(6)))
        #expect(check.end == nil, "503 is an answer of a recorder that starts")
    }
}
