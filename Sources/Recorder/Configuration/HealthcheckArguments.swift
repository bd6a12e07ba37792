import CommandLine
import HTTP
import Posix

/// The command line of `healthcheck URL`, the health check of the image.
enum HealthcheckArguments {
    static let command = "healthcheck"

    static let table = CommandLineTable(
        program: "streamvault-recorder \(command)",
        summary: """
            sends one request, and exits with 0 if the status of the answer is 200 to 399.

            URL is http://HOST[:PORT]/PATH, its host an IP address or localhost, or unix:/SOCKET:/PATH.
            """,
        operands: "URL",
        flags: [
            CommandLineFlag(
                "timeout",
                .duration(.milliseconds(1)...(.seconds(300))),
                help: "Limit for the complete check.",
                defaultText: Healthcheck.defaultTimeout.text
            )
        ]
    )

    /// Reads what follows `healthcheck`.
    static func parse(
        _ arguments: [String],
        environment: [String: String]
    ) throws(CommandLineError) -> Arguments.Request {
        switch try table.parse(arguments, environment: environment) {
        case .help(let text): return .help(text)
        case .version: return .version
        case .run(let values):
            guard values.operands.count == 1 else {
                throw CommandLineError(
                    "\(command): needs one URL, such as http://127.0.0.1:8000/health"
                )
            }
            let timeout = values.duration("timeout") ?? Healthcheck.defaultTimeout
            do throws(HealthcheckURLError) {
                let url = try HealthcheckURL(values.operands[0])
                return .healthcheck(Healthcheck(url, timeout: timeout, agent: userAgent))
            } catch {
                throw CommandLineError(error.description)
            }
        }
    }
}
