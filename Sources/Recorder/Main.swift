import CommandLine
import Glibc
import HTTP
import Posix

/// `streamvault-recorder`: reads what it is to do, records, and ends as it was told.
@main
enum Main {
    static func main() {
        let arguments = Array(CommandLine.arguments.dropFirst())
        let environment = processEnvironment()
        do {
            switch try Arguments.parse(arguments, environment: environment) {
            case .help(let text): print(text)
            case .version: print("streamvault-recorder \(recorderVersion)")
            case .run(let arguments): try run(arguments, environment)
            case .waitIdle(let wait): try run(wait)
            case .healthcheck(let check): try check.run()
            }
        } catch let error as CommandLineError {
            leave(64, error)
        } catch let error as ConfigurationError {
            leave(78, error)
        } catch {
            leave(1, error)
        }
    }

    private static func run(_ arguments: Arguments, _ environment: [String: String]) throws {
        let configuration = try Configuration.load(arguments)
        if arguments.checksOnly { return print("\(arguments.configPath): ok") }
        try Signals.ignoringBrokenPipe()
        Orphans.adopt()
        if configuration.noNewPrivileges { try forbidNewPrivileges() }
        let recorder = try Recorder(
            configuration,
            version: recorderVersion,
            environment: environment
        )
        // Not `exit`: a thread that was left behind must not hold up the end, and nothing is left to flush.
        let status = try recorder.run()
        Orphans.endAll()
        _exit(status)
    }

    private static func run(_ wait: WaitIdle) throws {
        let outcome = wait.run(try StopSignal()) { line in
            say(line, on: STDOUT_FILENO)
        }
        exit(outcome.rawValue)
    }

    /// One line a mistake, on standard error; the status as `sysexits.h` has it.
    private static func leave(_ status: CInt, _ error: any Error) -> Never {
        for line in "\(error)".split(separator: "\n") {
            say("streamvault-recorder: \(line)", on: STDERR_FILENO)
        }
        exit(status)
    }

    /// Writes a line at once, also into a pipe.
    private static func say(_ line: String, on descriptor: CInt) {
        let bytes = Array("\(line)\n".utf8)
        unsafe bytes.withUnsafeBytes { _ = unsafe write(descriptor, $0.baseAddress, $0.count) }
    }
}
