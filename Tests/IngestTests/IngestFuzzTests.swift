import Foundation
import TelemetryStage
import TestSupport
import Testing

@testable import Ingest

@Suite("The ingest socket's protocol, any bytes", .timeLimit(.minutes(10)))
struct IngestFuzzTests {
    /// `INGEST_FUZZ_ROUNDS`: millions need a release build.
    private static let rounds =
        ProcessInfo.processInfo.environment["INGEST_FUZZ_ROUNDS"].flatMap(Int.init) ?? 10_000

    static let lines = [
        IngestBench.hello.replacing("\n", with: " "),
        #"{"type":"state","state":"recording"}"#,
        #"{"type":"declare","metric":"counter","name":"a_total","help":"","labels":["x"],"series":[{"x":"1"}]}"#,
        #"{"type":"declare","metric":"counter","name":"b_seconds_total","help":"","unit":"seconds"}"#,
        #"{"type":"declare","metric":"gauge","name":"c","help":"C."}"#,
        #"{"type":"declare","metric":"histogram","name":"d_bytes","help":"","unit":"bytes","bounds":[0,1,9e18]}"#,
        #"{"type":"declare","metric":"histogram","name":"e_seconds","help":"","unit":"seconds","bounds":[1e-9,1e9]}"#,
        #"{"type":"add","name":"a_total","labels":{"x":"1"},"value":18446744073709551615}"#,
        #"{"type":"add","name":"b_seconds_total","value":0.000000001}"#,
        #"{"type":"set","name":"c","value":-1e308}"#,
        #"{"type":"observe","name":"d_bytes","value":18446744073709551615}"#,
        #"{"type":"observe","name":"e_seconds","value":18446744073.709551615}"#,
        #"{"type":"retire","name":"a_total","labels":{"x":"1"}}"#,
        #"{"type":"recording_started","id":1,"stream":"a","path":"/x","container":"ts"}"#,
        #"{"type":"recording_progress","id":1,"bytes":18446744073709551615}"#,
        #"{"type":"recording_finalizing","id":1}"#,
        #"{"type":"recording_ended","id":1,"result":"completed","ack":true}"#,
        #"{"type":"shutdown_begin","signal":15,"grace_period":1000000000,"phases":[{"name":"close","budget":1}]}"#,
        #"{"type":"phase_begin","phase":"close"}"#, #"{"type":"phase_end","outcome":"timeout"}"#,
        #"{"type":"heartbeat","ack":true}"#,
        #"{"type":"goodbye","exit_status":1,"outcome":"error"}"#,
    ].map { Array($0.utf8) }

    @Test("never traps, never grows, never depends on the pieces, and the segment can be read")
    func anyBytes() throws {
        var random = SeededGenerator(state: 0x1A6E57)
        var done = 0
        while done < Self.rounds {
            let (bench, pieces) = (try IngestBench(), try IngestBench())
            // Most lives begin well, or all that is learned is that hello comes first.
            if Int.random(in: 0..<10, using: &random) > 0 {
                bench.hello()
                pieces.hello()
            }
            for _ in 0..<500 {
                let bytes = Self.script(&random)
                let whole = Self.feed([bytes], to: bench)
                let parts = Self.feed(Self.cut(bytes, &random), to: pieces)
                guard whole == parts else {
                    Issue.record("\(whole) but in pieces \(parts): \(bytes)")
                    return
                }
                done += 1
            }
            // Either nobody said hello, or there is a segment that holds together.
            if FileManager.default.fileExists(atPath: bench.files.file("py")) {
                _ = try bench.snapshot()
            }
        }
    }

    /// Some lines, most of them whole, some of them damaged.
    private static func script(_ random: inout SeededGenerator) -> [UInt8] {
        var bytes: [UInt8] = []
        for _ in 0..<Int.random(in: 1...3, using: &random) {
            // Goodbye ends a life: seldom.
            var line = lines[Int.random(in: 1..<lines.count, using: &random)]
            if line == lines[lines.count - 1], Int.random(in: 0..<50, using: &random) > 0 {
                line = lines[Int.random(in: 0..<lines.count - 1, using: &random)]
            }
            for _ in 0..<Int.random(in: -3...2, using: &random).clamped {
                AlmostJSON.damage(&line, &random)
            }
            bytes += line
            if Int.random(in: 0..<8, using: &random) > 0 { bytes.append(UInt8(ascii: "\n")) }
        }
        return bytes + [UInt8(ascii: "\n")]
    }

    private static func cut(_ bytes: [UInt8], _ random: inout SeededGenerator) -> [[UInt8]] {
        let cuts = (0..<3).map { _ in Int.random(in: 0...bytes.count, using: &random) }.sorted()
        return zip([0] + cuts, cuts + [bytes.count]).map { Array(bytes[$0..<$1]) }
    }

    /// The reasons for which lines were refused; empty text for those that were not.
    private static func feed(_ pieces: [[UInt8]], to bench: IngestBench) -> [String] {
        var buffer = LineBuffer()
        var answers: [String] = []
        for piece in pieces {
            buffer.append(piece[...])
            while let line = buffer.next() {
                let answer = bench.session.process(line, of: buffer.bytes)
                _ = IngestSession.reply(answer, toLine: bench.session.lineNumber)
                if case .refused(let refusal) = answer {
                    answers.append("\(refusal.reason) \(refusal.text)")
                } else {
                    answers.append("")
                }
            }
            buffer.compact()
        }
        return answers
    }
}

extension Int {
    fileprivate var clamped: Int { Swift.max(0, self) }
}
