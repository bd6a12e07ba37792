import Foundation

/// A program that a test started, with what it wrote.
final class Program {
    private let process = Process()
    private let logPath: String

    /// Starts it; with every signal blocked if it `isDeaf`, as some supervisors do.
    init(_ name: String, _ arguments: [String], isDeaf: Bool, logPath: String) throws {
        self.logPath = logPath
        _ = FileManager.default.createFile(atPath: logPath, contents: nil)
        let log = try FileHandle(forWritingTo: URL(fileURLWithPath: logPath))
        process.executableURL = Self.locate(name)
        process.arguments =
            process.executableURL?.path == "/usr/bin/env" ? [name] + arguments : arguments
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = log
        process.standardError = log
        try Self.withMask(blockingAll: isDeaf) { try process.run() }
    }

    /// A child takes over the mask of the thread that starts it, and test threads block signals.
    private static func withMask(blockingAll: Bool, _ body: () throws -> Void) rethrows {
        var (mask, previous) = (sigset_t(), sigset_t())
        if blockingAll { sigfillset(&mask) } else { sigemptyset(&mask) }
        pthread_sigmask(SIG_SETMASK, &mask, &previous)
        defer { pthread_sigmask(SIG_SETMASK, &previous, nil) }
        try body()
    }

    /// Standard output and standard error so far.
    var log: String { (try? String(contentsOfFile: logPath, encoding: .utf8)) ?? "" }

    var processID: Int32 { process.processIdentifier }

    var isRunning: Bool { process.isRunning }

    var identifier: Int32 { process.processIdentifier }

    func signal(_ signal: Int32) { Foundation.kill(process.processIdentifier, signal) }

    /// Ends it at once.
    func kill() {
        signal(SIGKILL)
        _ = try? exitStatus()
    }

    /// Ends it, if it still runs, with the chance to end what it has started itself.
    func cleanUp() {
        guard process.isRunning else { return }
        signal(SIGTERM)
        if (try? exitStatus(within: 10)) == nil { kill() }
    }

    /// Ends it as an orchestrator does.
    func stop() throws -> Int32 {
        signal(SIGTERM)
        return try exitStatus()
    }

    /// Waits for the end; the exit status, or 128 and the signal's number.
    func exitStatus(within seconds: Double = 60) throws -> Int32 {
        try eventually("end of \(process.executableURL?.lastPathComponent ?? "?")", within: seconds)
        {
            process.isRunning ? nil : ()
        }
        let status = process.terminationStatus
        return process.terminationReason == .uncaughtSignal ? 128 + status : status
    }

    /// Waits for a line with `text`; the line.
    func line(containing text: String, within seconds: Double = 20) throws -> String {
        try eventually("\"\(text)\" in the log:\n\(log)", within: seconds) {
            guard process.isRunning || log.contains(text) else {
                throw TimedOut(description: "ended without \"\(text)\":\n\(log)")
            }
            return log.split(separator: "\n").map(String.init).first { $0.contains(text) }
        }
    }

    /// The package's own programs stand beside the tests.
    static func locate(_ name: String) -> URL {
        let tests = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        let own = tests.deletingLastPathComponent().appendingPathComponent(name)
        guard FileManager.default.isExecutableFile(atPath: own.path) else {
            return URL(fileURLWithPath: "/usr/bin/env")
        }
        return own
    }
}

extension Workbench {
    /// Runs a program to its end; its status and what it wrote.
    func run(_ name: String, _ arguments: [String]) throws -> (status: Int32, output: String) {
        let program = try start(name, arguments)
        let status = try program.exitStatus()
        return (status, program.log)
    }
}
