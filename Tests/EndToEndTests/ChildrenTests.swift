import Foundation
import Testing

@Suite("programs that the recorder starts", .timeLimit(.minutes(5)))
struct ChildrenTests {
    private let bench: Workbench

    init() throws {
        bench = try Workbench()
    }

    private func contents(of name: String) -> String? {
        try? String(contentsOfFile: bench.path(name), encoding: .utf8)
    }

    /// Starts a recorder with secrets in its environment, and one stream of a shell.
    private func start(_ script: String, fields: String = "") throws -> Program {
        _ = try bench.makeDirectory("telemetry")
        let config = try bench.configure(
            [TestStream.command("gate", ["sh", "-c", script])],
            fields: fields
        )
        let recorder = Program.locate("streamvault-recorder").path
        let secrets = [
            "STREAMVAULT_WEB_BEARER_TOKEN=hidden-1",
            "STREAMVAULT_TWITCH_EVENTSUB_SECRET=hidden-2-long",
            "STREAMVAULT_TWITCH_CLIENT_SECRET=hidden-3", "STREAMVAULT_RECORDER_NAME=named",
            "KEPT=kept",
        ]
        return try bench.start("env", secrets + [recorder, "--config", config])
    }

    @Test("secrets are neither in a program's environment nor in what it sees of its parent's")
    func secrets() throws {
        let (own, parent) = (bench.path("own"), bench.path("parent"))
        let program = try start(
            "cat /proc/$PPID/environ > \(parent); env > \(own).new; mv \(own).new \(own); exec sleep 100"
        )
        let environment = try eventually("the program's environment") { contents(of: "own") }
        #expect(environment.contains("KEPT=kept") && !environment.contains("hidden"))
        #expect(
            !environment.contains("STREAMVAULT_WEB") && !environment.contains("STREAMVAULT_TWITCH")
        )
        let seen = try Data(contentsOf: URL(fileURLWithPath: parent))
        let text = String(decoding: seen.map { $0 == 0 ? 0x20 : $0 }, as: UTF8.self)
        #expect(text.contains("KEPT=kept") && text.contains("STREAMVAULT_RECORDER_NAME=named"))
        #expect(text.contains("STREAMVAULT_WEB_BEARER_TOKEN=") && !text.contains("hidden"))
        #expect(try program.stop() == 0)
    }

    @Test(
        "what has left a command's process group ends with it",
        arguments: [
            "setsid sh -c '%' & exec sleep 1000", "setsid sh -c '%' > /dev/null 2>&1 & sleep 0.3",
            "env -i setsid sh -c '%' > /dev/null 2>&1 & exec sleep 1000",
            "(setsid setsid sh -c 'trap \"\" INT TERM; %' > /dev/null 2>&1 &); exec sleep 1000",
        ]
    )
    func departed(_ script: String) throws {
        let mark = bench.path("departed")
        let departed = "echo $$ > \(mark).new; mv \(mark).new \(mark); while :; do sleep 0.1; done"
        let program = try start(script.replacing("%", with: departed))
        let number = try eventually("a number") {
            contents(of: "departed").flatMap {
                Int32($0.trimmingCharacters(in: .whitespacesAndNewlines))
            }
        }
        let isOnItsOwn = script.contains("sleep 0.3")
        // A command that ends by itself ends it too, without a stop of the recorder.
        if isOnItsOwn { try eventually("its end", within: 30) { isRunning(number) ? nil : () } }
        #expect(try program.stop() == 0)
        #expect(!isRunning(number), "\(number) is there after the recorder")
    }

    /// Whether a process has not ended; one that only waits to be reaped has.
    private func isRunning(_ number: Int32) -> Bool {
        let stat = try? String(contentsOfFile: "/proc/\(number)/stat", encoding: .utf8)
        let state = stat?.split(separator: ")").last?.split(separator: " ").first
        return state.map { $0 != "Z" && $0 != "X" } ?? false
    }

    @Test("programs gain no privileges where that is configured", arguments: [false, true])
    func privileges(areForbidden: Bool) throws {
        let own = bench.path("own")
        let fields = areForbidden ? "programs: {no_new_privileges: true}" : ""
        let script =
            "grep NoNewPrivs /proc/self/status > \(own).new; mv \(own).new \(own); exec sleep 100"
        let program = try start(script, fields: fields)
        let text = try eventually("the program's status") { contents(of: "own") }
        let before =
            try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
            .split(separator: "\n").first { $0.hasPrefix("NoNewPrivs") } ?? ""
        #expect(
            text.trimmingCharacters(in: .newlines) == (areForbidden ? "NoNewPrivs:\t1" : before)
        )
        #expect(try program.stop() == 0)
    }

    @Test(
        "what commands of a recorder have left that was killed, its next start ends, and nothing of another's",
        .timeLimit(.minutes(10))
    )
    func leftovers() throws {
        func helped(_ name: String) -> String {
            let file = bench.path(name)
            let helper = "echo $$ > \(file).new; mv \(file).new \(file); exec sleep 1000"
            let script = "setsid sh -c '\(helper)' & exec sleep 1000"
            return TestStream.command(name, ["sh", "-c", script])
        }
        func helper(_ name: String) throws -> pid_t {
            try eventually("the helper of \(name)") {
                let text = try? String(contentsOfFile: bench.path(name), encoding: .utf8)
                return text.flatMap { pid_t($0.filter(\.isNumber)) }
            }
        }
        let killed = try bench.startRecorder([helped("one")])
        let left = try helper("one")
        _ = try bench.configure([helped("two")], name: "other")
        let other = try bench.start(
            "streamvault-recorder",
            ["--config", bench.path("recorder.json5")]
        )
        let spared = try helper("two")
        killed.program.kill()
        #expect(isRunning(left), "it outlives the recorder")

        let next = try bench.startRecorder([])
        let line = try next.program.line(containing: "Programs of an earlier run ended")
        // The command and its helper.
        #expect(line.contains("count=2 still_running=0"), "\(line)")
        #expect(!isRunning(left))
        #expect(isRunning(spared))
        #expect(try next.program.stop() == 0)
        #expect(try other.stop() == 0)
    }
}

/// Whether a process has not ended; one that nobody has reaped yet has.
private func isRunning(_ identifier: pid_t) -> Bool {
    let stat = try? String(contentsOfFile: "/proc/\(identifier)/stat", encoding: .utf8)
    let state = stat?.split(separator: ")").last?.split(separator: " ").first
    return state.map { $0 != "Z" && $0 != "X" } ?? false
}
