import Glibc
import Posix

/// Media that a program writes to its standard output.
struct CommandSource: MediaSource {
    /// The program, looked up in `PATH`, and its arguments.
    let arguments: [String]
    /// How the program is stopped.
    var stages = StopStage.standard
    /// The time that is left to a program that has closed its output, and to the programs that it left behind.
    var leftoverPatience = Duration.seconds(2)
    /// Takes what the program writes to its standard error, line by line.
    let log: @Sendable (String) -> Void

    /// Runs the program until it ends, or until it has obeyed `stop`; then delivers what is left of its output.
    ///
    /// How a program ends that was told to is no error: `streamlink` ends with 130.
    func run(into sink: any MediaSink, until stop: StopSignal) throws(SourceError) -> SourceEnd {
        let run = CommandRun(
            child: try spawn(),
            sink: sink,
            stop: stop,
            stages: stages,
            leftoverPatience: leftoverPatience,
            log: log
        )
        let outcome = try run.finish()
        if stop.isRequested { return .stopped }
        guard outcome.wasSignalled || outcome.status == .code(0) else {
            throw .program(outcome.failure(of: name))
        }
        return .finished
    }

    private var name: String { arguments.first ?? "" }

    private func spawn() throws(SourceError) -> ChildProcess {
        do throws(SpawnError) {
            return try ChildProcess.spawn(arguments)
        } catch {
            switch error {
            case .notFound: throw .program("\(name) was not found")
            case .notExecutable: throw .program("\(name) may not be executed")
            case .system(let error): throw .program("\(name) could not be started: \(error)")
            }
        }
    }
}

/// How the program ended, and what is known of the reason.
struct CommandOutcome: Equatable {
    let status: ChildStatus
    /// Whether this process told it to end.
    let wasSignalled: Bool
    let lastLine: String

    func failure(of name: String) -> String {
        let what =
            switch status {
            case .code(let code): "\(name) exited with \(code)"
            case .signal(let signal): "\(name) was ended by signal \(signal)"
            case .unknown: "\(name) ended, how is not known"
            }
        return lastLine.isEmpty ? what : "\(what); \(lastLine)"
    }
}
