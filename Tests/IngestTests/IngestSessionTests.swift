import Foundation
import Posix
import TelemetryStage
import Testing

@testable import Ingest
@testable import StreamVaultTelemetry

/// A session whose runs are published into a directory of its own, and what becomes of them there.
final class IngestBench {
    let files: TelemetryDirectory
    let directory: IngestDirectory
    var session: IngestSession

    init(_ files: TelemetryDirectory? = nil, resumeGrace: Duration = .seconds(30)) throws {
        let files = try files ?? TelemetryDirectory()
        let directory = try IngestDirectory(
            path: files.path,
            resumeGrace: resumeGrace,
            now: .now()
        )
        (self.files, self.directory) = (files, directory)
        session = IngestSession { (hello) throws(IngestError) in try directory.open(hello) }
    }

    /// The reason for which a line is refused, and what is wrong; `nil` when it took effect.
    @discardableResult
    func say(_ line: String) -> String? {
        let bytes = Array(line.utf8)
        guard case .refused(let refusal) = session.process(.complete(bytes.indices), of: bytes)
        else {
            return nil
        }
        return "\(refusal.reason.rawValue): \(refusal.text)"
    }

    func hello() {
        #expect(say(Self.hello) == nil)
    }

    /// Ends the session as the end of its connection does.
    func hangUp() {
        session = IngestSession { (_) throws(IngestError) in
            throw IngestError(.order, "over")
        }
    }

    func snapshot(_ name: String = "py") throws -> Snapshot {
        var reader = SegmentReader(path: files.file(name))
        return try reader.snapshot()
    }

    /// The cells of a series.
    func cells(_ name: String, _ values: [String] = []) throws -> [UInt64]? {
        let snapshot = try snapshot()
        let contents = snapshot.contents
        let series = contents.series.first {
            contents.families[$0.family].name == name && $0.values == values
        }
        return series.map { one in
            let count = contents.families[one.family].wordsPerSeries
            return Array(snapshot.words[one.word..<one.word + count])
        }
    }

    /// The sum of a histogram, and what its classic buckets count, each for itself.
    func histogram(_ name: String) throws -> [UInt64] {
        let cells = try cells(name) ?? []
        let buckets = try snapshot().contents.families.first { $0.name == name }?.buckets
        let counts = buckets?.classicCells.map {
            cells[1...][(1 + $0.lowerBound)..<(1 + $0.upperBound)].reduce(0, +)
        }
        return cells.prefix(1) + (counts ?? [])
    }

    static let run = "0f8fad5b-d9cb-469f-a165-70867728950e"
    static let hello = """
        {"type":"hello","name":"py","version":"1.2","run":"\(run)","heartbeat_interval":5,
         "phases":[{"name":"drain","budget":10},{"name":"close"}]}
        """
}

@Suite("What a process says on the ingest socket")
struct IngestSessionTests {
    private let bench: IngestBench

    init() throws {
        bench = try IngestBench()
    }

    @Test("hello: the segment says who it is, and what it promises")
    func hello() throws {
        bench.hello()
        let snapshot = try bench.snapshot()
        let identity = snapshot.contents.identity
        #expect(identity.name == "py")
        #expect(identity.version == "1.2")
        #expect(identity.isRelayed)
        #expect(identity.heartbeatInterval == 5_000_000_000)
        #expect(
            identity.runID.map { String(format: "%02x", $0) }.joined()
                == IngestBench.run.replacingOccurrences(of: "-", with: "")
        )
        #expect(snapshot.contents.lifecycle.phases.map(\.name) == ["drain", "close"])
        #expect(snapshot.contents.lifecycle.phases.map(\.budget) == [10_000_000_000, 0])
        #expect(snapshot.verdict == .alive)
    }

    @Test("without a promise of heartbeats nobody is hung")
    func noPromise() throws {
        #expect(bench.say(#"{"type":"hello","name":"py"}"#) == nil)
        let identity = try bench.snapshot().contents.identity
        let verdict = Verdict.judge(
            Lifecycle(),
            openRecordings: 0,
            isOwned: true,
            silence: .seconds(86_400 * 365),
            heartbeatInterval: .nanoseconds(identity.heartbeatInterval)
        )
        #expect(verdict == .alive)
    }

    @Test("metrics: declared, counted, set, observed, retired")
    func metrics() throws {
        bench.hello()
        let lines = [
            #"{"type":"declare","metric":"counter","name":"a_total","help":"A.","labels":["x","y"],"series":[{"y":"2","x":"1"}]}"#,
            #"{"type":"declare","metric":"counter","name":"b_seconds_total","help":"B.","unit":"seconds"}"#,
            #"{"type":"declare","metric":"gauge","name":"c_bytes","help":"C.","unit":"bytes"}"#,
            #"{"type":"declare","metric":"histogram","name":"d_seconds","help":"D.","unit":"seconds","bounds":[0.1,1]}"#,
            #"{"type":"declare","metric":"histogram","name":"e_bytes","help":"E.","unit":"bytes","bounds":[10,20]}"#,
        ]
        for line in lines { #expect(bench.say(line) == nil) }
        #expect(try bench.cells("a_total", ["1", "2"]) == [0], "there from the start")
        #expect(try bench.cells("b_seconds_total") == [0])
        let values = [
            #"{"type":"add","name":"a_total","labels":{"x":"1","y":"2"},"value":3}"#,
            #"{"type":"add","name":"a_total","labels":{"y":"ü","x":""},"value":1e3}"#,
            #"{"type":"add","name":"b_seconds_total","value":0.25}"#,
            #"{"type":"set","name":"c_bytes","value":-1.5e10}"#,
            #"{"type":"observe","name":"d_seconds","value":0.1}"#,
            #"{"type":"observe","name":"d_seconds","value":100}"#,
            #"{"type":"observe","name":"e_bytes","value":11}"#,
        ]
        for line in values { #expect(bench.say(line) == nil) }
        #expect(try bench.cells("a_total", ["1", "2"]) == [3])
        #expect(try bench.cells("a_total", ["", "ü"]) == [1000])
        #expect(try bench.cells("b_seconds_total") == [250_000_000])
        #expect(try bench.cells("c_bytes") == [(-1.5e10).bitPattern])
        #expect(try bench.histogram("d_seconds") == [100_100_000_000, 1, 0, 1])
        #expect(try bench.histogram("e_bytes") == [11, 0, 1, 0])
        let retired = #"{"type":"retire","name":"a_total","labels":{"x":"1","y":"2"}}"#
        #expect(bench.say(retired) == nil)
        #expect(try bench.cells("a_total", ["1", "2"]) == nil)
        #expect(bench.say(values[0]) == nil)
        #expect(try bench.cells("a_total", ["1", "2"]) == [6], "it comes back where it was")
    }

    @Test("recordings: started, in progress, finalizing, ended")
    func recordings() throws {
        bench.hello()
        bench.say(#"{"type":"state","state":"recording"}"#)
        let start =
            #"{"type":"recording_started","id":7,"stream":"gate","path":"/g.ts","container":"ts"}"#
        #expect(bench.say(start) == nil)
        #expect(bench.say(start) == "order: recording 7 is already open")
        #expect(bench.say(#"{"type":"recording_progress","id":7,"bytes":188}"#) == nil)
        #expect(bench.say(#"{"type":"recording_progress","id":7,"bytes":376}"#) == nil)
        #expect(
            bench.say(#"{"type":"recording_progress","id":7,"bytes":375}"#)
                == "message: \"bytes\" is less than before"
        )
        let open = try #require(try bench.snapshot().contents.recordings.first)
        #expect((open.id, open.stream, open.path, open.container) == (7, "gate", "/g.ts", "ts"))
        #expect(try bench.cells("streamvault_recording_written_bytes", ["gate"]) == [376])
        #expect(bench.say(#"{"type":"recording_finalizing","id":7}"#) == nil)
        #expect(try bench.snapshot().contents.recordings.first?.state == .finalizing)
        #expect(bench.say(#"{"type":"recording_ended","id":7,"result":"failed"}"#) == nil)
        #expect(try bench.snapshot().contents.ended == [0, 0, 1])
        #expect(
            bench.say(#"{"type":"recording_finalizing","id":7}"#)
                == "order: recording 7 is not open"
        )
    }

    @Test("a shutdown: the first phase begins with it, the others when they are named")
    func shutdown() throws {
        bench.hello()
        #expect(
            bench.say(
                #"{"type":"shutdown_begin","signal":15,"grace_period":30.5,"phases":[{"name":"close","budget":3}]}"#
            )
                == nil
        )
        #expect(bench.say(#"{"type":"phase_begin","phase":"drain"}"#) == nil)
        var lifecycle = try bench.snapshot().contents.lifecycle
        #expect(lifecycle.state == .stopping)
        #expect(lifecycle.signal == 15)
        #expect(lifecycle.gracePeriod == 30_500_000_000)
        #expect(lifecycle.phases.map(\.state) == [.running, .pending])
        #expect(lifecycle.phases[1].budget == 3_000_000_000)
        #expect(bench.say(#"{"type":"phase_end","outcome":"timeout"}"#) == nil)
        #expect(bench.say(#"{"type":"phase_end"}"#) == "order: no phase is running")
        #expect(
            bench.say(#"{"type":"phase_begin","phase":"drain"}"#)
                == "order: phase \"drain\" has ended"
        )
        #expect(bench.say(#"{"type":"phase_begin","phase":"close"}"#) == nil)
        lifecycle = try bench.snapshot().contents.lifecycle
        #expect(lifecycle.phases.map(\.state) == [.ended(.timeout), .running])
        #expect(bench.say(#"{"type":"goodbye","exit_status":3,"outcome":"error"}"#) == nil)
        let last = try bench.snapshot()
        #expect(last.contents.lifecycle.phases.map(\.state) == [.ended(.timeout), .ended(.error)])
        #expect(last.contents.lifecycle.exitStatus == 3)
        #expect(last.verdict == .ended(.degraded))
        #expect(!last.isOwned, "goodbye gives the name free")
    }

    enum End: CaseIterable { case crashed, killed, clean }

    @Test("the end of the connection is the end of the process", arguments: End.allCases)
    func hangUp(_ end: End) throws {
        bench.hello()
        bench.say(#"{"type":"state","state":"recording"}"#)
        if end != .crashed { bench.say(#"{"type":"shutdown_begin","signal":15}"#) }
        if end == .clean { bench.say(#"{"type":"goodbye"}"#) }
        bench.hangUp()
        let expected: Verdict =
            switch end {
            case .crashed: .ended(.crashed)
            case .killed: .ended(.killed)
            case .clean: .ended(.clean)
            }
        #expect(try bench.snapshot().verdict == expected)
    }

    @Test("the next run takes over the counts, with the verdict on the one before")
    func carriedForward() throws {
        let declared = #"{"type":"declare","metric":"counter","name":"a_total","help":"A."}"#
        bench.hello()
        bench.say(declared)
        bench.say(#"{"type":"add","name":"a_total","value":5}"#)
        bench.hangUp()
        let next = try IngestBench(bench.files)
        #expect(next.directory.awaitingResume.isEmpty == false, "no goodbye: it may come back")
        #expect(next.say(#"{"type":"hello","name":"py"}"#) == nil, "but this is another run")
        next.say(declared)
        next.say(#"{"type":"add","name":"a_total","value":2}"#)
        #expect(try next.cells("a_total") == [7])
        #expect(try next.cells("streamvault_crashes_total") == [1])
        #expect(try next.snapshot().contents.history.map(\.end) == [.crashed])
    }

    @Test("the same run goes on after its exporter: counts, recordings, phases, and no crash")
    func resumed() throws {
        let declared = [
            #"{"type":"declare","metric":"counter","name":"a_total","help":"A.","labels":["x"]}"#,
            #"{"type":"declare","metric":"gauge","name":"g","help":"G."}"#,
            #"{"type":"declare","metric":"histogram","name":"d_seconds","help":"D.","unit":"seconds","bounds":[1]}"#,
        ]
        bench.hello()
        for line in declared { bench.say(line) }
        bench.say(#"{"type":"add","name":"a_total","labels":{"x":"gone"},"value":9}"#)
        bench.say(#"{"type":"add","name":"a_total","labels":{"x":"1"},"value":5}"#)
        bench.say(#"{"type":"add","name":"a_total","labels":{"x":"late"},"value":9}"#)
        bench.say(#"{"type":"retire","name":"a_total","labels":{"x":"gone"}}"#)
        bench.say(#"{"type":"retire","name":"a_total","labels":{"x":"late"}}"#)
        bench.say(#"{"type":"set","name":"g","value":2.5}"#)
        bench.say(#"{"type":"observe","name":"d_seconds","value":0.5}"#)
        bench.say(#"{"type":"recording_started","id":7,"stream":"gate"}"#)
        bench.say(#"{"type":"recording_progress","id":7,"bytes":100}"#)
        bench.say(#"{"type":"recording_started","id":8,"stream":"yard"}"#)
        bench.say(#"{"type":"recording_ended","id":8,"result":"completed"}"#)
        bench.say(#"{"type":"shutdown_begin","signal":15}"#)
        let first = try bench.snapshot().contents.identity
        bench.hangUp()

        let next = try IngestBench(bench.files)
        #expect(next.say(IngestBench.hello) == nil)
        #expect(next.session.run?.isResumed == true)
        #expect(try next.snapshot().contents.identity == first)
        for line in declared { #expect(next.say(line) == nil) }
        for label in ["gone", "1", "new"] {
            #expect(
                next.say(#"{"type":"add","name":"a_total","labels":{"x":"\#(label)"},"value":1}"#)
                    == nil
            )
        }
        #expect(try next.cells("a_total", ["1"]) == [6])
        #expect(try next.cells("a_total", ["new"]) == [1])
        #expect(try next.cells("a_total", ["gone"]) == [1], "retired for good, and begun anew")
        #expect(try next.cells("a_total", ["late"]) == nil)
        #expect(try next.cells("g") == [(2.5).bitPattern])
        next.say(#"{"type":"observe","name":"d_seconds","value":2}"#)
        #expect(try next.histogram("d_seconds") == [2_500_000_000, 1, 1])
        #expect(next.say(#"{"type":"recording_progress","id":7,"bytes":150}"#) == nil)
        #expect(try next.cells("streamvault_recording_written_bytes", ["gate"]) == [150])
        #expect(next.say(#"{"type":"recording_ended","id":7,"result":"interrupted"}"#) == nil)
        #expect(try next.snapshot().contents.ended == [1, 1, 0])
        #expect(next.say(#"{"type":"phase_begin","phase":"close"}"#) == nil)
        #expect(next.say(#"{"type":"goodbye"}"#) == nil)
        let last = try next.snapshot()
        #expect(last.verdict == .ended(.clean))
        #expect(last.contents.history.isEmpty)
        #expect(try next.cells("streamvault_crashes_total") == [0])
        #expect(try next.cells("streamvault_recorder_runs_total") == [1])
    }

    @Test("a line that is refused leaves nothing behind")
    func noTrace() throws {
        bench.hello()
        bench.say(
            #"{"type":"declare","metric":"counter","name":"a_total","help":"A.","labels":["x"]}"#
        )
        let lines = [
            #"{"type":"add","name":"a_total","labels":{"x":"1"},"value":-1}"#,
            #"{"type":"set","name":"a_total","labels":{"x":"1"},"value":1}"#,
            #"{"type":"add","name":"a_total","labels":{"x":"1"},"value":1,"more":1}"#,
            #"{"type":"declare","metric":"counter","name":"b_total","help":"","labels":["x"],"series":[{"x":"1"},{}]}"#,
        ]
        for line in lines { #expect(bench.say(line)?.hasPrefix("message: ") == true) }
        #expect(try bench.cells("a_total", ["1"]) == nil)
        #expect(try bench.cells("b_total", ["1"]) == nil)
        #expect(
            bench.say(#"{"type":"declare","metric":"gauge","name":"b_total","help":""}"#) == nil
        )
    }

    @Test("a name that is taken is refused, and free again after the end")
    func nameTaken() throws {
        bench.hello()
        let directory = bench.directory
        var second = IngestSession { (hello) throws(IngestError) in try directory.open(hello) }
        let hello = Array(IngestBench.hello.utf8)
        guard case .refused(let refusal) = second.process(.complete(hello.indices), of: hello)
        else {
            Issue.record("two of one name")
            return
        }
        #expect(refusal.reason == .name)
        bench.hangUp()
        guard case .applied = second.process(.complete(hello.indices), of: hello) else {
            Issue.record("the name is not free")
            return
        }
    }

    @Test("blank lines are heartbeats, and every line is one")
    func heartbeats() throws {
        bench.hello()
        for line in ["", " \t\r", #"{"type":"heartbeat"}"#, "nonsense"] {
            let before = try bench.snapshot().heartbeat
            bench.say(line)
            #expect(try bench.snapshot().heartbeat > before, "\(line)")
        }
    }

    @Test("an applied line gets a reply only on request; errors have the number of the line")
    func replies() throws {
        func reply(_ line: String) -> String? {
            let bytes = Array(line.utf8)
            let outcome = bench.session.process(.complete(bytes.indices), of: bytes)
            let reply = IngestSession.reply(outcome, toLine: bench.session.lineNumber)
            return reply.map { String(decoding: $0, as: UTF8.self) }
        }
        #expect(
            reply(#"{"type":"hello","name":"py","ack":true}"#)
                == "{\"line\":1,\"ok\":true,\"resumed\":false}\n"
        )
        #expect(reply(#"{"type":"heartbeat"}"#) == nil)
        #expect(reply("") == nil)
        #expect(reply(#"{"type":"heartbeat","ack":true}"#) == "{\"line\":4,\"ok\":true}\n")
        #expect(
            reply("{]")
                == "{\"line\":5,\"reason\":\"json\",\"error\":\"not JSON: expected a name in quotes at byte 2\"}\n"
        )
    }
}
