import CommandLine
import Glibc
import HTTP
import Posix

/// `streamvault-recorder`: reads what it is to do, records, and ends as it was told.
@main
enum Main {
    static func main() {
        FileDescriptor.openStandard()
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
            leave(failedStartStatus, error)
        }
    }

    /// The exit status of a start that fails for another reason than its command line and its configuration.
    static let failedStartStatus: CInt = 1

    private static func run(_ arguments: Arguments, _ environment: [String: String]) throws {
        let configuration = try Configuration.load(arguments)
        if arguments.checksOnly {
            try configuration.checkSurroundings(environment, Log())
            return print("\(arguments.configPath): ok")
        }
        try Signals.prepare()
        Orphans.adopt()
        returnLargeBlocksWhenFreed()
        if configuration.noNewPrivileges { try forbidNewPrivileges() }
        let log = try Recorder.openLog(configuration.logFile)
        let result = Result {
            try Recorder(
                configuration,
                version: recorderVersion,
                environment: environment,
                log: log
            )
            .run()
        }
        // Lines wait in the log while an output hangs. The shutdown's own margin is longer than this.
        log.flush(within: min(.milliseconds(500), configuration.gracePeriod / 50))
        // Last: recordings that were left behind would go on to end with their programs.
        Orphans.endAll()
        // Not `exit`: a thread that was left behind must not hold up the end.
        _exit(try result.get())
    }

    private static func run(_ wait: WaitIdle) throws {
        let outcome = wait.run(try StopSignal()) { line in
            say(visible(line), on: STDOUT_FILENO)
        }
        exit(outcome.rawValue)
    }

    /// One line a mistake, on standard error; the status as `sysexits.h` has it.
    private static func leave(_ status: CInt, _ error: any Error) -> Never {
        for line in "\(error)".split(separator: "\n") {
            say("streamvault-recorder: \(visible(String(line)))", on: STDERR_FILENO)
        }
        // Not `exit`, which tears down what threads that still run are using.
        _exit(status)
    }

    /// Writes a line at once, also into a pipe.
    private static func say(_ line: String, on descriptor: CInt) {
        let bytes = Array("\(line)\n".utf8)
        unsafe bytes.withUnsafeBytes { _ = unsafe write(descriptor, $0.baseAddress, $0.count) }
    }
}
