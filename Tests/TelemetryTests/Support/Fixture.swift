import Foundation
import Glibc
import Posix

/// The program `TelemetryFixture`, running.
final class Fixture {
    private var process: Subprocess
    private var pending: [UInt8] = []

    init(_ command: String, _ directory: String, _ argument: String = "", name: String = "test")
        throws
    {
        process = try Subprocess.spawn(
            [Self.program, command, directory, name, argument]
        )
    }

    /// In the directory of the program that runs the tests.
    static var program: String {
        let runner = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        return URL(fileURLWithPath: runner ?? "").deletingLastPathComponent()
            .appendingPathComponent("TelemetryFixture").path
    }

    /// Stops it with SIGSTOP.
    func stop() { _ = kill(process.identifier, SIGSTOP) }

    /// Starts another program.
    init(running arguments: [String]) throws {
        process = try Subprocess.spawn(arguments)
    }

    /// Kills it, but not its children, and waits for its end.
    @discardableResult
    func killAlone() -> TerminationStatus {
        _ = kill(process.identifier, SIGKILL)
        return process.wait()
    }

    func wait() -> TerminationStatus { process.wait() }

    /// The next line of its output; `nil` at the end.
    func line() throws -> String? {
        while true {
            if let end = pending.firstIndex(of: UInt8(ascii: "\n")) {
                defer { pending.removeSubrange(...end) }
                return String(decoding: pending[..<end], as: UTF8.self)
            }
            var chunk = [UInt8](repeating: 0, count: 4096)
            let count = try chunk.withUnsafeMutableBytes { try process.output.read(into: $0) }
            guard count > 0 else { return nil }
            pending += chunk[..<count]
        }
    }

    /// Lines up to the end of its output.
    func lines() throws -> [String] {
        var lines: [String] = []
        while let line = try line() { lines.append(line) }
        return lines
    }
}
