import Foundation
import Testing

@Suite("Faults", .serialized)
struct FaultTests {
    /// The whole is run by hand: `tools/faults/matrix.py`, and `tools/faults/kills.py`.
    @Test(
        "real faults cost no more than they must, and the next start heals the rest: a sample",
        .timeLimit(.minutes(10))
    )
    func sample() throws {
        let bench = try Workbench()
        let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../tools/faults/matrix.py").standardizedFileURL
        let matrix = try bench.start(script.path, ["--sample"])
        #expect(try matrix.exitStatus(within: 280) == 0, "\(matrix.log)")
    }
}
