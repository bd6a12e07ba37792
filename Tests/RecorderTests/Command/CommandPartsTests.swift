import Glibc
import Posix
import Testing

@testable import Recorder

@Suite("ending a program, and its error output")
struct CommandPartsTests {
    @Test("the steps follow each other, each signal once, then it is given up")
    func escalation() {
        let start = BootTime(nanoseconds: 0)
        func at(_ seconds: Int) -> BootTime { start.advanced(by: .seconds(seconds)) }
        var escalation = StopEscalation(StopStep.standard, at: start)
        #expect(escalation.next(at: at(0)) == .signal(SIGINT))
        #expect(escalation.next(at: at(0)) == .wait(until: at(2)))
        #expect(escalation.next(at: at(1)) == .wait(until: at(2)))
        #expect(escalation.next(at: at(2)) == .signal(SIGTERM))
        #expect(escalation.next(at: at(4)) == .signal(SIGKILL))
        #expect(escalation.next(at: at(4)) == .wait(until: at(5)))
        #expect(escalation.next(at: at(5)) == .giveUp)
    }

    @Test("a step without a signal only waits")
    func pause() {
        let start = BootTime(nanoseconds: 0)
        var escalation = StopEscalation([StopStep(signal: nil, timeout: .seconds(1))], at: start)
        #expect(escalation.next(at: start) == .wait(until: start.advanced(by: .seconds(1))))
        #expect(escalation.next(at: start.advanced(by: .seconds(1))) == .giveUp)
    }

    @Test(
        "error output becomes lines",
        arguments: [
            (["a\nb\n"], ["a", "b"]), (["a", "b\nc"], ["ab", "c"]),
            (["1\r2\r\n3"], ["1", "2", "3"]),
            (["0123456789\nx\n"], ["01234567", "x"]), (["\n\n"], []), (["a\u{1b}[1m\n"], ["a [1m"]),
        ] as [([String], [String])]
    )
    func errorLines(of pieces: [String], are expected: [String]) {
        var lines = ErrorOutput(maxBytes: 8)
        var found: [String] = []
        for piece in pieces { found += lines.append(Array(piece.utf8).span) }
        found += lines.finish()
        #expect(found == expected)
        #expect(lines.last == expected.last ?? "")
    }

    @Test("a second has so many lines, and the next line tells how many were dropped")
    func budget() {
        var budget = LineBudget(perSecond: 2)
        let passes = [1, 1, 1, 1, 2].map { budget.take(at: $0) }
        #expect(passes.map(\.passes) == [true, true, false, false, true])
        #expect(passes.map(\.droppedBefore) == [0, 0, 0, 0, 2])
    }
}
