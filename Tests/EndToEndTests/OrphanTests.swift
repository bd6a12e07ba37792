import Foundation
import Testing

@Suite("A recorder that inherits the orphans of its programs, as process 1 does")
struct OrphanTests {
    private let bench: Workbench

    init() throws {
        bench = try Workbench()
    }

    /// Becomes a reaper of its descendants' orphans, with `PR_SET_CHILD_SUBREAPER`, and then the program it is given.
    private static let reaper = """
        import ctypes, os, sys
        assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0
        os.execv(sys.argv[1], sys.argv[1:])
        """

    @Test(
        "orphans are reaped, and how its own programs ended is still known",
        .timeLimit(.minutes(10))
    )
    func reaped() throws {
        _ = try bench.makeDirectory("telemetry")
        // Each run leaves a byte, and three orphans that end at once, or after its own end.
        let runs = bench.path("runs")
        let script =
            "printf . >> \(runs); for i in 0 0.1 1; do (setsid sleep $i &); done; exit 3"
        let config = try bench.configure([TestStream.command("brief", ["sh", "-c", script])])
        let recorder = Program.locate("streamvault-recorder").path
        let arguments = ["-c", Self.reaper, recorder, "--config", config]
        let program = try bench.start("python3", arguments)
        try eventually("three runs", within: 40) {
            (try? Data(contentsOf: URL(fileURLWithPath: runs)).count) ?? 0 > 3 ? () : nil
        }
        #expect(program.log.contains("sh exited with 3"))
        #expect(!program.log.contains("how is not known"))
        try eventually("orphans, all of them reaped") {
            try children(of: program).isEmpty ? () : nil
        }
        #expect(try program.stop() == 0)
    }

    /// The states of a program's children: `Z` for those that nobody has reaped.
    private func children(of program: Program) throws -> [String] {
        let parent = "\(program.identifier)"
        return try FileManager.default.contentsOfDirectory(atPath: "/proc").compactMap { name in
            let stat = try? String(contentsOfFile: "/proc/\(name)/stat", encoding: .utf8)
            let fields = stat?.split(separator: ")").last?.split(separator: " ") ?? []
            return fields.count > 1 && fields[1] == parent ? String(fields[0]) : nil
        }
    }
}
