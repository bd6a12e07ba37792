import CommandLine
import FoundationEssentials
import Posix

/// The command line of `wait-idle URL`.
enum WaitIdleArguments {
    static let command = "wait-idle"
    private static let defaultTimeout = Duration.seconds(3600)
    private static let defaultInterval = Duration.seconds(5)

    static let table = CommandLineTable(
        program: "streamvault-recorder \(command)",
        summary: """
            waits until nothing is recorded, so that the recorder can be replaced.

            Leaves with 0 when it is idle, 1 when it was still recording at the end of the time, and 2 when it
            cannot be asked for 10 s.
            """,
        operands: "URL",
        flags: [
            CommandLineFlag(
                "timeout",
                .duration(.zero...(.seconds(7 * 86_400))),
                help: "How long to wait; 0s asks once.",
                defaultText: defaultTimeout.text
            ),
            CommandLineFlag(
                "interval",
                .duration(.milliseconds(100)...(.seconds(3600))),
                help: "Time between two questions.",
                defaultText: defaultInterval.text
            ),
        ]
    )

    /// Reads what follows `wait-idle`.
    static func parse(
        _ arguments: [String],
        environment: [String: String]
    ) throws(CommandLineError) -> Arguments.Request {
        switch try table.parse(arguments, environment: environment) {
        case .help(let text): .help(text)
        case .version: .version
        case .run(let values): .waitIdle(try read(values))
        }
    }

    private static func read(_ values: CommandLineValues) throws(CommandLineError) -> WaitIdle {
        guard values.operands.count == 1 else {
            throw CommandLineError("\(command): needs one URL, such as http://127.0.0.1:8000")
        }
        let text = values.operands[0]
        guard let url = URL(string: text, encodingInvalidCharacters: false),
            let scheme = url.scheme?.lowercased(), scheme == "http" || scheme == "https",
            let host = url.host(), !host.isEmpty
        else { throw CommandLineError("\(command): \"\(text)\" is not an http or https URL") }
        return WaitIdle(
            url: url,
            timeout: values.duration("timeout") ?? defaultTimeout,
            interval: values.duration("interval") ?? defaultInterval
        )
    }
}
