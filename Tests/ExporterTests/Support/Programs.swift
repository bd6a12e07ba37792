import Foundation

/// A file beside these tests.
func testFile(_ path: String) -> String {
    let support = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    return support.deletingLastPathComponent().path + "/" + path
}

/// The Python of the project's own environment, with the packages of `tools/requirements.txt`.
///
/// Not standardized: Foundation would follow its link to the system's Python, which has other packages.
let projectPython = testFile("../../.venv/bin/python")

/// Runs a program on `input`; its exit status and what it wrote.
func run(_ program: String, _ arguments: [String], input: [UInt8]) throws -> (
    status: Int32, output: String
) {
    let file = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
    try Data(input).write(to: file)
    defer { try? FileManager.default.removeItem(at: file) }
    let process = Process()
    let output = Foundation.Pipe()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = [program] + arguments
    process.standardInput = try FileHandle(forReadingFrom: file)
    process.standardOutput = output
    process.standardError = output
    try process.run()
    let data = output.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return (process.terminationStatus, String(decoding: data, as: UTF8.self))
}
