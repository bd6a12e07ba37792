import Glibc
import Posix
import TestSupport
import Testing

@testable import Recorder

@Suite("command sources", .timeLimit(.minutes(5)))
struct CommandReaderTests {
    private let lines = CollectedLines()
    private let stop: StopSignal

    init() throws {
        stop = try StopSignal()
    }

    @Test("output is delivered in order and whole, and exit code 0 ends the source")
    func finishes() async {
        let outcome = await run("seq 200000")
        #expect(outcome.ending == .ended)
        #expect(outcome.text == (1...200_000).map { "\($0)\n" }.joined())
    }

    @Test("what a program has written is taken to its end, however slow the disk")
    func slowDisk() async {
        let script = "head -c 600000 /dev/zero | tr '\\0' G"
        // All stages together take 1.3 s.
        let outcome = await run(script) { _ in usleep(250_000) }
        #expect(outcome.ending == .ended)
        #expect(outcome.bytes == [UInt8](repeating: 0x47, count: 600_000))
    }

    @Test("a failure names the exit code and the last line of the program")
    func fails() async {
        let script = "echo first >&2; echo 'no https://a.test/x?token=abc here' >&2; exit 3"
        let outcome = await run(script)
        #expect(
            outcome.ending == .failed("sh exited with 3; no https://a.test/x here")
        )
        #expect(lines.all == ["first", "no https://a.test/x here"])
    }

    @Test("a program ended by a signal of others is a failure")
    func signalled() async {
        let outcome = await run("kill -9 $$")
        #expect(outcome.ending == .failed("sh was ended by signal 9"))
    }

    @Test("a program that is not there is a failure that says so")
    func notFound() async {
        let arguments = ["no-such-program", "-x"]
        let outcome = await RecorderTests.run(arguments, until: stop, onLine: lines.append)
        #expect(outcome.ending == .failed("no-such-program was not found"))
    }

    @Test("a stop sends SIGINT, takes the rest of the output, and forgives the exit code")
    func stops() async {
        let script = "trap 'echo rest; exit 130' INT; echo up; while :; do sleep 0.05; done"
        let outcome = await run(script, onOutput: stopAtOnce)
        #expect(outcome.ending == .stopped)
        #expect(outcome.text == "up\nrest\n")
        #expect(outcome.took < .seconds(2))
    }

    @Test("a stop before the start still ends the program")
    func stoppedBefore() async {
        stop.request()
        let outcome = await run("exec sleep 100")
        #expect(outcome.ending == .stopped)
        #expect(outcome.took < .seconds(2))
    }

    @Test("a program that ignores SIGINT and SIGTERM is killed, its output kept")
    func ignores() async {
        let script = "trap '' INT TERM; echo up; while :; do echo more; sleep 0.02; done"
        let outcome = await run(script, onOutput: stopAtOnce)
        #expect(outcome.ending == .stopped)
        #expect(outcome.text.hasPrefix("up\nmore\nmore\n"))
        #expect(outcome.took > .milliseconds(600) && outcome.took < .seconds(2))
    }

    @Test("a program that floods its standard error neither blocks nor floods the log")
    func floods() async {
        let script = "yes 'complaint' | head -c 20000000 >&2; echo media; echo end >&2"
        let outcome = await run(script)
        #expect(outcome.ending == .ended)
        #expect(outcome.text == "media\n")
        // Fifty a second, and what was begun.
        #expect(lines.all.count < 60 * (Int(outcome.took.inSeconds) + 2))
    }

    @Test("a program left behind in the group, holding the pipe, is ended after the patience")
    func grandchild() async {
        let outcome = await run("sleep 100 & echo media")
        #expect(outcome.ending == .ended)
        #expect(outcome.text == "media\n")
        #expect(outcome.took < .seconds(2))
    }

    @Test("a program that left the group, holding the pipe, cannot hang the source")
    func escapedGrandchild() async {
        let script = "setsid sh -c 'echo $$ >&2; exec sleep 20' & while :; do sleep 1; done"
        let outcome = await run(script, onLine: stopAndKeep)
        #expect(outcome.ending == .stopped)
        #expect(outcome.took < .seconds(3))
        for escaped in lines.all.compactMap({ pid_t($0) }) { kill(escaped, SIGKILL) }
    }

    @Test("a program that closes its output but goes on is told to end")
    func closesOutput() async {
        let outcome = await run("echo media; exec >&- ; exec sleep 100")
        #expect(outcome.ending == .ended)
        #expect(outcome.text == "media\n")
    }

    @Test("when the media cannot be stored the program is killed and the error kept")
    func sinkFails() async {
        let full = SystemError(call: "write", code: ENOSPC)
        let outcome = await run("echo up; exec sleep 100") {
            _ throws(SystemError) in throw full
        }
        #expect(outcome.ending == .notStored(full))
    }

    @Test("a real encoder, stopped, leaves a stream of whole packets")
    func encoder() async {
        let input = ["-re", "-f", "lavfi", "-i", "testsrc2=size=160x90:rate=25"]
        let output = ["-c:v", "libx264", "-preset", "ultrafast", "-f", "mpegts", "-"]
        let arguments = ["ffmpeg", "-v", "error", "-nostdin"] + input + output
        let outcome = await RecorderTests.run(arguments, until: stop, onLine: lines.append) {
            [stop] total throws(SystemError) in
            if total > 20_000 { stop.request() }
        }
        #expect(outcome.ending == .stopped)
        #expect(outcome.bytes.count % 188 == 0)
        #expect(outcome.bytes.first == 0x47)
    }

    /// Runs a shell script, with little time for each step.
    private func run(
        _ script: String,
        onOutput: @escaping @Sendable (Int) throws(SystemError) -> Void = { _ in },
        onLine: (@Sendable (String) -> Void)? = nil
    ) async -> RunOutcome {
        await RecorderTests.run(
            ["sh", "-c", script],
            steps: [
                StopStep(signal: SIGINT, timeout: .milliseconds(300)),
                StopStep(signal: SIGTERM, timeout: .milliseconds(300)),
                StopStep(signal: SIGKILL, timeout: .milliseconds(500)),
            ],
            orphanTimeout: .milliseconds(200),
            until: stop,
            onLine: onLine ?? lines.append,
            onOutput: onOutput
        )
    }

    private var stopAtOnce: @Sendable (Int) -> Void {
        { [stop] _ in stop.request() }
    }

    private var stopAndKeep: @Sendable (String) -> Void {
        { [stop, lines] line in
            lines.append(line)
            stop.request()
        }
    }
}
