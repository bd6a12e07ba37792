import Posix
import TestSupport
import Testing

@testable import StreamVaultTelemetry

@Suite("Writers that are killed during a write")
struct TornRecordTests {
    struct Step: Sendable, CustomTestStringConvertible {
        let testDescription: String
        var before: @Sendable (inout PublisherState) -> Void = { _ in }
        let write: @Sendable (inout PublisherState) -> Void
    }

    static let steps = [
        Step(testDescription: "second write of the lifecycle") { state in
            state.change { $0.state = .recording }
        },
        Step(
            testDescription: "third write of the lifecycle",
            before: { state in state.change { $0.state = .recording } },
            write: { state in state.change { DerivedMetricsTests.stopInSecondPhase(&$0) } }
        ),
        Step(testDescription: "first recording in its place") { _ = $0.open(recording(1)) },
        Step(
            testDescription: "end of a recording",
            before: { _ = $0.open(recording(1)) },
            write: { $0.close(0, .failed) }
        ),
        Step(
            testDescription: "a place taken again",
            before: { state in
                _ = state.open(recording(1))
                state.close(0, .failed)
            },
            write: { _ = $0.open(recording(2)) }
        ),
        Step(testDescription: "first series of a new family") { _ = $0.cell(family, ["a"]) },
        Step(
            testDescription: "a series retired",
            before: { _ = $0.cell(family, ["a"]) },
            write: { $0.metrics.retire("test_total", ["a"]) }
        ),
    ]

    static let family = MetricFamily(
        name: "test_total",
        help: "Test.",
        kind: .counter,
        labels: ["n"]
    )

    static func recording(_ id: UInt64) -> OpenRecording {
        OpenRecording(
            id: id,
            stream: "stream-\(id)",
            path: "/recordings/\(id).ts",
            container: "ts",
            state: .recording,
            startedBoot: PaperSegment.stamp(Double(id)),
            startedWall: PaperSegment.startedWall
        )
    }

    /// A record before and after the write.
    private struct Sight: Equatable {
        let lifecycle: Lifecycle
        let recordings: [OpenRecording]
        let ended: [UInt64]
        let series: [[String]]

        init(_ bytes: [UInt8]) throws {
            let contents = try Snapshot(of: bytes).contents
            (lifecycle, recordings) = (contents.lifecycle, contents.recordings)
            ended = contents.ended
            series = contents.series.map { [contents.families[$0.family].name] + $0.values }
        }
    }

    @Test(
        "the record is the former or the new one, whatever part of it was written",
        arguments: steps
    )
    func death(_ step: Step) throws {
        let segment = PaperSegment()
        step.before(&segment.state)
        let before = segment.bytes
        step.write(&segment.state)
        let after = segment.bytes
        let (old, new) = (try Sight(before), try Sight(after))
        let changed = stride(from: 0, to: before.count, by: 8).filter {
            before.word(at: $0) != after.word(at: $0)
        }
        #expect(!changed.isEmpty)
        var seen: Set<Bool> = []
        var random = SeededGenerator(state: 4)
        var stored: [[Int]] = (0...changed.count).map { Array(changed.prefix($0)) }
        // And in any other order, as a reader on another processor may see it.
        stored += (0..<100).map { _ in changed.filter { _ in Bool.random(using: &random) } }
        for words in stored {
            var torn = before
            for offset in words {
                torn.replaceSubrange(offset..<offset + 8, with: after[offset..<offset + 8])
            }
            let sight = try Sight(torn)
            #expect(sight == old || sight == new, "stored: \(words)")
            seen.insert(sight == new)
        }
        #expect(seen == [true, false])
    }
}
