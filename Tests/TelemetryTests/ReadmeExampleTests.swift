import Foundation
import Testing

@testable import StreamVaultTelemetry

@Suite("The README's example")
struct ReadmeExampleTests {
    private func repositoryFile(_ name: String) throws -> String {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent()
        return try String(contentsOf: root.appendingPathComponent(name), encoding: .utf8)
    }

    @Test("is the code that these tests compile")
    func isCompiled() throws {
        let file = try repositoryFile("Tests/TelemetryTests/ReadmeExample.swift")
        let begin = try #require(file.range(of: "    // begin\n"))
        let end = try #require(file.range(of: "    // end"))
        let lines = file[begin.upperBound..<end.lowerBound].split(
            separator: "\n",
            omittingEmptySubsequences: false
        )
        let code = lines.map { $0.hasPrefix("    ") ? $0.dropFirst(4) : $0 }.joined(separator: "\n")
        #expect(
            try repositoryFile("README.md").contains("import StreamVaultTelemetry\n\n\(code)```")
        )
    }

    @Test("ends as a clean shutdown of one recording")
    func runs() throws {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent(
            UUID().uuidString
        ).path
        try FileManager.default.createDirectory(
            atPath: directory,
            withIntermediateDirectories: true
        )
        defer { try? FileManager.default.removeItem(atPath: directory) }
        try readmeExample(in: directory)
        var reader = SegmentReader(path: "\(directory)/cam-1.telemetry")
        let snapshot = try reader.snapshot()
        #expect(snapshot.verdict == .ended(.clean))
        #expect(snapshot.contents.ended == [0, 1, 0])
    }
}
