import CommandLine
import Glibc
import HTTP
import Posix

/// `streamvault-recorder`: parses the command line and runs the command.
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
            exit(64, message: error)
        } catch let error as ConfigurationError {
            exit(78, message: error)
        } catch {
            exit(StartError.exitStatus, message: error)
        }
    }

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
        // Lines may still wait for an output that hangs. The shutdown's margin is longer than this.
        log.flush(within: min(.milliseconds(500), configuration.gracePeriod / 50))
        // Last, since abandoned recordings would be finalized when their programs end.
        Orphans.endAll()
        // Not `exit`, which an abandoned thread could delay.
        _exit(try result.get())
    }

    private static func run(_ wait: WaitIdle) throws {
        let outcome = wait.run(try StopSignal()) { line in
            printLine(visible(line), on: STDOUT_FILENO)
        }
        Glibc.exit(outcome.rawValue)
    }

    /// Prints one line for each error on standard error; the status is one of `sysexits.h`.
    private static func exit(_ status: CInt, message error: any Error) -> Never {
        for line in "\(error)".split(separator: "\n") {
            printLine("streamvault-recorder: \(visible(String(line)))", on: STDERR_FILENO)
        }
        // Not `exit`, which destroys state that other threads still use.
        _exit(status)
    }

    /// Writes a line immediately, also into a pipe.
    private static func printLine(_ line: String, on descriptor: CInt) {
        let bytes = Array("\(line)\n".utf8)
        unsafe bytes.withUnsafeBytes { _ = unsafe write(descriptor, $0.baseAddress, $0.count) }
    }
}
