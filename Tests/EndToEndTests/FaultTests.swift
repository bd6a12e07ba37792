import Foundation
import Testing

@Suite("Faults", .serialized)
struct FaultTests {
    /// The whole is `make faults`.
    @Test(
        "real faults cost no more than they must, and the next start heals the rest: a sample",
        .timeLimit(.minutes(12)),
        arguments: ["matrix.py", "calls.py"]
    )
    func sample(_ name: String) throws {
        let bench = try Workbench()
        let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../tools/faults/\(name)").standardizedFileURL
        let run = try bench.start(script.path, ["--sample"])
        #expect(try run.exitStatus(within: 600) == 0, "\(run.log)")
    }
}
