import Foundation
import Testing

/// A test's directory, and the programs that it started; both go when it goes.
final class Workbench {
    let directory: URL
    private var programs: [Program] = []

    init() throws {
        directory = FileManager.default.temporaryDirectory
            .appendingPathComponent("streamvault-test-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    }

    deinit {
        for program in programs { program.cleanUp() }
        try? FileManager.default.removeItem(at: directory)
    }

    func path(_ name: String) -> String { directory.appendingPathComponent(name).path }

    func makeDirectory(_ name: String) throws -> String {
        try FileManager.default.createDirectory(
            atPath: path(name),
            withIntermediateDirectories: true
        )
        return path(name)
    }

    /// Starts one of this package's programs, or one that is found by `PATH`.
    func start(_ name: String, _ arguments: [String], isDeaf: Bool = false) throws -> Program {
        let log = path("\(programs.count).log")
        let program = try Program(name, arguments, isDeaf: isDeaf, logPath: log)
        programs.append(program)
        return program
    }
}

/// What did not come about in time.
struct TimedOut: Error, CustomStringConvertible {
    let description: String
}

/// Waits until `condition` gives a value; it is tried often, and for `seconds` at most.
@discardableResult
func eventually<T>(
    _ what: String,
    within seconds: Double = 20,
    _ condition: () throws -> T?
) throws -> T {
    let deadline = Date(timeIntervalSinceNow: seconds)
    while Date() < deadline {
        if let value = try condition() { return value }
        usleep(20_000)
    }
    throw TimedOut(description: "not within \(seconds) s: \(what)")
}
