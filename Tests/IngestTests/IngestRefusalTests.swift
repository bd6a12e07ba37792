import Foundation
import Glibc
import Posix
import TelemetryStage
import Testing

@testable import Ingest

@Suite("Lines that are refused, and why")
struct IngestRefusalTests {
    static let earlyLines: [(String, String)] = [
        ("[]", "message: a message must be an object, not an array"),
        ("1", "message: a message must be an object, not a number"),
        ("{}", "message: \"type\" is missing"),
        (#"{"type":1}"#, "message: \"type\" must be a string, not a number"),
        (#"{"type":"add","name":"a","value":1}"#, "order: the first message must be hello"),
        (#"{"type":"goodbye"}"#, "order: the first message must be hello"),
        (#"{"type":"hello"}"#, "message: \"name\" is missing"),
        (
            #"{"type":"hello","name":"Py"}"#,
            "message: invalid recorder name \"Py\": [a-z0-9]([a-z0-9-]*[a-z0-9])?, at most 63 characters"
        ),
        (
            #"{"type":"hello","name":"../x"}"#,
            "message: invalid recorder name \"../x\": [a-z0-9]([a-z0-9-]*[a-z0-9])?, at most 63 characters"
        ),
        (#"{"type":"hello","name":"py\u0000"}"#, "message: \"name\" must not contain U+0000"),
        (#"{"type":"hello","name":"py","run":"1"}"#, "message: \"run\" must be a UUID"),
        (
            #"{"type":"hello","name":"py","run":"0f8fad5b-d9cb-469f-a165-70867728950g"}"#,
            "message: \"run\" must be a UUID"
        ),
        (
            #"{"type":"hello","name":"py","heartbeat_interval":-1}"#,
            "message: \"heartbeat_interval\" must be a number of seconds from 0 to 1000000000"
        ),
        (
            #"{"type":"hello","name":"py","heartbeat_interval":1e10}"#,
            "message: \"heartbeat_interval\" must be a number of seconds from 0 to 1000000000"
        ),
        (
            #"{"type":"hello","name":"py","heartbeat_interval":"1"}"#,
            "message: \"heartbeat_interval\" must be a number, not a string"
        ),
        (
            #"{"type":"hello","name":"py","phases":[{"name":"a"},{"name":"a"}]}"#,
            "message: \"phases\" must have distinct names that are not empty"
        ),
        (
            #"{"type":"hello","name":"py","phases":[{"name":""}]}"#,
            "message: \"phases\" must have distinct names that are not empty"
        ),
        (
            #"{"type":"hello","name":"py","phases":["a"]}"#,
            "message: \"phases[0]\" must be an object, not a string"
        ),
        (
            #"{"type":"hello","name":"py","phases":[{"name":"a","bugdet":1}]}"#,
            "message: \"phases[0].bugdet\" is unknown"
        ),
        (
            #"{"type":"hello","name":"py","phases":{}}"#,
            "message: \"phases\" must be an array, not an object"
        ),
        (#"{"type":"hello","name":"py","verison":"1"}"#, "message: \"verison\" is unknown"),
        (
            #"{"type":"hello","name":"py","ack":1}"#,
            "message: \"ack\" must be a boolean, not a number"
        ),
    ]

    @Test("before hello", arguments: earlyLines)
    func beforeHello(_ line: String, _ refusal: String) throws {
        let bench = try IngestBench()
        #expect(bench.say(line) == refusal)
        bench.hello()
    }

    static let declared = [
        #"{"type":"declare","metric":"counter","name":"a_total","help":"A.","labels":["x"]}"#,
        #"{"type":"declare","metric":"counter","name":"b_seconds_total","help":"B.","unit":"seconds"}"#,
        #"{"type":"declare","metric":"gauge","name":"c","help":"C."}"#,
        #"{"type":"declare","metric":"histogram","name":"d_seconds","help":"D.","unit":"seconds"}"#,
    ]

    static let laterLines: [(String, String)] = [
        (IngestBench.hello, "order: hello was already sent"),
        (#"{"type":"nope"}"#, "message: \"type\" is not a message: \"nope\""),
        (
            #"{"type":"state","state":"stopping"}"#,
            "message: \"state\" must be one of \"starting\", \"recording\", \"draining\""
        ),
        (
            #"{"type":"declare","metric":"summary","name":"s","help":""}"#,
            "message: \"metric\" must be one of \"counter\", \"gauge\", \"histogram\""
        ),
        (
            #"{"type":"declare","metric":"counter","name":"s","help":""}"#,
            "message: \"name\" of a counter must end in _total"
        ),
        (
            #"{"type":"declare","metric":"gauge","name":"s","help":"","unit":"bytes"}"#,
            "message: \"name\" must end in the unit, before _total"
        ),
        (
            #"{"type":"declare","metric":"gauge","name":"1s","help":""}"#,
            "message: a name, label or bound of the metric is not valid: see docs/ingest.md"
        ),
        (
            #"{"type":"declare","metric":"gauge","name":"s","help":"","labels":["le"]}"#,
            "message: a name, label or bound of the metric is not valid: see docs/ingest.md"
        ),
        (
            #"{"type":"declare","metric":"gauge","name":"s","help":"","labels":["a","a"]}"#,
            "message: a name, label or bound of the metric is not valid: see docs/ingest.md"
        ),
        (
            #"{"type":"declare","metric":"gauge","name":"s","help":"","labels":["a","b","c","d","e"]}"#,
            "message: \"labels\" has more than 4 items"
        ),
        (
            #"{"type":"declare","metric":"gauge","name":"s","help":"","bounds":[1]}"#,
            "message: \"bounds\" is unknown"
        ),
        (
            #"{"type":"declare","metric":"histogram","name":"s","help":""}"#,
            "message: \"bounds\" is missing"
        ),
        (
            #"{"type":"declare","metric":"histogram","name":"s","help":"","bounds":[2,1]}"#,
            "message: \"bounds\" must be ascending numbers, whole or seconds"
        ),
        (
            #"{"type":"declare","metric":"histogram","name":"s","help":"","bounds":[0.5]}"#,
            "message: \"bounds\" must be ascending numbers, whole or seconds"
        ),
        (
            #"{"type":"declare","metric":"counter","name":"streamvault_crashes_total","help":""}"#,
            "message: \"streamvault_crashes_total\" is reserved, as are all names that begin with streamvault_ or process_"
        ),
        (
            #"{"type":"declare","metric":"counter","name":"process_cpu_seconds_total","help":""}"#,
            "message: \"process_cpu_seconds_total\" is reserved, as are all names that begin with streamvault_ or process_"
        ),
        (
            #"{"type":"declare","metric":"gauge","name":"streamvault_of_tomorrow","help":""}"#,
            "message: \"streamvault_of_tomorrow\" is reserved, as are all names that begin with streamvault_ or process_"
        ),
        (
            #"{"type":"declare","metric":"gauge","name":"a_total","help":""}"#,
            "message: \"a_total\" was declared with another type, unit, labels or bounds"
        ),
        (
            #"{"type":"declare","metric":"gauge","name":"d_seconds_count","help":""}"#,
            "message: \"d_seconds_count\" and \"d_seconds\" share the name \"d_seconds_count\""
        ),
        (
            #"{"type":"declare","metric":"gauge","name":"a","help":""}"#,
            "message: \"a\" and \"a_total\" share the name \"a\""
        ),
        (
            #"{"type":"declare","metric":"counter","name":"c_total","help":""}"#,
            "message: \"c_total\" and \"c\" share the name \"c\""
        ),
        (#"{"type":"add","name":"z","value":1}"#, "order: \"z\" was not declared"),
        (
            #"{"type":"add","name":"a_total","value":1}"#,
            "message: \"labels\" of \"a_total\" must be: x"
        ),
        (
            #"{"type":"add","name":"a_total","labels":{"x":"1","y":"2"},"value":1}"#,
            "message: \"labels\" of \"a_total\" must be: x"
        ),
        (
            #"{"type":"add","name":"a_total","labels":{"x":1},"value":1}"#,
            "message: \"labels.x\" must be a string, not a number"
        ),
        (
            #"{"type":"add","name":"a_total","labels":["1"],"value":1}"#,
            "message: \"labels\" must be an object, not an array"
        ),
        (#"{"type":"add","name":"a_total","labels":{"x":"1"}}"#, "message: \"value\" is missing"),
        (
            #"{"type":"add","name":"a_total","labels":{"x":"1"},"value":0.5}"#,
            "message: \"value\" must be a whole number, 0 or more"
        ),
        (
            #"{"type":"add","name":"a_total","labels":{"x":"1"},"value":-1}"#,
            "message: \"value\" must be a whole number, 0 or more"
        ),
        (
            #"{"type":"add","name":"b_seconds_total","value":-0.1}"#,
            "message: \"value\" must be a number of seconds, 0 or more"
        ),
        (
            #"{"type":"add","name":"b_seconds_total","value":1e99}"#,
            "message: \"value\" must be a number of seconds, 0 or more"
        ),
        (#"{"type":"add","name":"c","value":1}"#, "message: \"c\" is not a counter"),
        (
            #"{"type":"set","name":"b_seconds_total","value":1}"#,
            "message: \"b_seconds_total\" is not a gauge"
        ),
        (#"{"type":"observe","name":"c","value":1}"#, "message: \"c\" is not a histogram"),
        (#"{"type":"set","name":"c","value":1e309}"#, "message: \"value\" is too large"),
        (#"{"type":"set","name":"c","value":NaN}"#, "json: not JSON: expected a value at byte 34"),
        (
            #"{"type":"set","name":"c","value":1,"value":2}"#,
            "json: not JSON: duplicate name at byte 36"
        ),
        (
            #"{"type":"recording_started","id":-1,"stream":"a"}"#,
            "message: \"id\" must be a whole number from 0 to 18446744073709551615"
        ),
        (
            #"{"type":"recording_ended","id":1,"result":"abandoned"}"#,
            "message: \"result\" must be one of \"completed\", \"interrupted\", \"failed\""
        ),
        (
            #"{"type":"shutdown_begin","signal":65}"#,
            "message: \"signal\" must be a whole number from 0 to 64"
        ),
        (
            #"{"type":"shutdown_begin","phases":[{"name":"x"}]}"#,
            "message: phase \"x\" was not declared in hello"
        ),
        (#"{"type":"phase_begin","phase":"drain"}"#, "order: no shutdown has begun"),
        (#"{"type":"phase_end"}"#, "order: no shutdown has begun"),
        (
            #"{"type":"goodbye","exit_status":256}"#,
            "message: \"exit_status\" must be a whole number from 0 to 255"
        ),
    ]

    @Test("after hello, and the run goes on", arguments: laterLines)
    func afterHello(_ line: String, _ refusal: String) throws {
        let bench = try IngestBench()
        bench.hello()
        for line in Self.declared { #expect(bench.say(line) == nil) }
        #expect(bench.say(line) == refusal)
        #expect(bench.say(#"{"type":"goodbye"}"#) == nil)
        #expect(bench.say(#"{"type":"heartbeat"}"#) == "order: the run has ended with goodbye")
    }

    @Test("what does not fit is refused, and what fitted is still counted")
    func full() throws {
        let bench = try IngestBench()
        bench.hello()
        let declare =
            #"{"type":"declare","metric":"counter","name":"a_total","help":"","labels":["n"]}"#
        #expect(bench.say(declare) == nil)
        var refusal: String?
        for number in 0..<600 where refusal == nil {
            refusal = bench.say(
                #"{"type":"add","name":"a_total","labels":{"n":"\#(number)"},"value":1}"#
            )
        }
        #expect(refusal?.hasPrefix("room: ") == true)
        #expect(bench.say(#"{"type":"add","name":"a_total","labels":{"n":"0"},"value":1}"#) == nil)
        #expect(try bench.cells("a_total", ["0"]) == [2])
        for id in 0..<64 {
            #expect(bench.say(#"{"type":"recording_started","id":\#(id),"stream":"a"}"#) == nil)
        }
        #expect(
            bench.say(#"{"type":"recording_started","id":64,"stream":"a"}"#)
                == "room: 64 recordings are open"
        )
        let long = String(repeating: "x", count: 143)
        let labels = #"{"type":"declare","metric":"gauge","name":"g","help":"","labels":["a","b"]}"#
        #expect(bench.say(labels) == nil)
        let set = #"{"type":"set","name":"g","labels":{"a":"\#(long)","b":"y"},"value":1}"#
        #expect(bench.say(set) == "message: \"labels\" are longer than 144 bytes together")
    }

    @Test("so many names, and no more")
    func names() throws {
        let bench = try IngestBench()
        for number in 0..<IngestDirectory.maxNames {
            _ = try bench.directory.open(Self.hello("n\(number)"))
        }
        #expect(throws: IngestError(.room, "the directory already has 64 names")) {
            _ = try bench.directory.open(Self.hello("one-more"))
        }
        _ = try bench.directory.open(Self.hello("n0"))
        let next = try IngestBench(bench.files)
        #expect(throws: IngestError(.room, "the directory already has 64 names")) {
            _ = try next.directory.open(Self.hello("one-more"))
        }
    }

    private static func hello(_ name: String) -> IngestHello {
        IngestHello(name: name, version: "", phases: [])
    }

    @Test("a segment that cannot be written")
    func unwritable() throws {
        let bench = try IngestBench()
        let directory = bench.files.path
        try TelemetryDirectory.remove(directory)
        _ = try FileDescriptor(opening: directory, O_WRONLY | O_CREAT)
        let refusal = try #require(bench.say(IngestBench.hello))
        #expect(refusal.hasPrefix("segment: telemetry is not published: open \(directory)"))
    }
}

extension TelemetryDirectory {
    /// Takes a directory away under those who use it.
    static func remove(_ path: String) throws { try FileManager.default.removeItem(atPath: path) }
}
