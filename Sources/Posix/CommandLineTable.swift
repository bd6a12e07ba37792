/// All that a program understands on its command line; parses it, and explains it.
package struct CommandLineTable: Sendable {
    package let program: String
    /// What the program does: one sentence for the help.
    package let summary: String
    /// What may follow the flags, such as `[dump FILE]`; `nil` when nothing may.
    package let operands: String?
    package let flags: [CommandLineFlag]

    package init(
        program: String,
        summary: String,
        operands: String? = nil,
        flags: [CommandLineFlag]
    ) {
        self.program = program
        self.summary = summary
        self.operands = operands
        self.flags = flags
    }

    /// Reads the arguments, without the program's name; a flag wins over its variable.
    ///
    /// `--help`, `-h` and `--version` end the reading: nothing behind them is looked at. Unknown
    /// variables are not errors: in a pod, a Service named `streamvault` brings some of its own. An
    /// empty variable counts as not set, as Compose leaves them.
    package func parse(
        _ arguments: [String],
        environment: [String: String]
    ) throws(CommandLineError) -> CommandLineRequest {
        var values = CommandLineValues()
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            switch argument {
            case "--help", "-h": return .help(helpText)
            case "--version": return .version
            case "--":
                try take(operands: Array(rest), into: &values)
                rest = []
            default:
                guard argument.hasPrefix("-"), argument != "-" else {
                    try take(operands: [argument], into: &values)
                    continue
                }
                try take(flag: argument, rest: &rest, into: &values)
            }
        }
        try take(environment: environment, into: &values)
        for flag in flags where flag.isRequired && values.all(flag.name).isEmpty {
            throw CommandLineError("--\(flag.name) is required (or \(flag.environmentName))")
        }
        return .run(values)
    }

    private func take(
        operands given: [String],
        into values: inout CommandLineValues
    ) throws(CommandLineError) {
        guard operands != nil || given.isEmpty else {
            throw CommandLineError("\(given[0]): unexpected argument, see --help")
        }
        values.operands += given
    }

    private func take(
        flag argument: String,
        rest: inout ArraySlice<String>,
        into values: inout CommandLineValues
    ) throws(CommandLineError) {
        let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        let spelling = String(parts[0])
        guard let flag = flags.first(where: { "--\($0.name)" == spelling }) else {
            throw CommandLineError("\(spelling): unknown flag, see --help")
        }
        if parts.count == 2 {
            try values.add(String(parts[1]), to: flag, calledBy: spelling)
        } else if case .boolean = flag.kind {
            try values.add("true", to: flag, calledBy: spelling)
        } else if let next = rest.first, !next.hasPrefix("--") {
            rest.removeFirst()
            try values.add(next, to: flag, calledBy: spelling)
        } else {
            throw CommandLineError("\(spelling): needs a value")
        }
    }

    private func take(
        environment: [String: String],
        into values: inout CommandLineValues
    ) throws(CommandLineError) {
        for flag in flags where values.all(flag.name).isEmpty {
            let variable = flag.environmentName
            guard let text = environment[variable], !text.isEmpty else { continue }
            var items = [text]
            if case .list = flag.kind { items = text.split(separator: ",").map(String.init) }
            for item in items { try values.add(item, to: flag, calledBy: variable) }
        }
    }
}
