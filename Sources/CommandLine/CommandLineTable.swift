import Posix

/// The command line of a program: parses it, and prints its help.
package struct CommandLineTable: Sendable {
    package let program: String
    /// What the program does: one sentence for the help.
    package let summary: String
    /// The operands that may follow the flags, such as `[dump FILE]`; `nil` for none.
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

    /// Parses the arguments, without the program's name; a flag overrides its variable.
    ///
    /// `--help`, `-h` and `--version` end the parsing: arguments after them are ignored. Unknown
    /// variables are not errors: in a pod, a Service named `streamvault` adds some of its own. An
    /// empty variable counts as unset, because Compose passes unset ones as empty.
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
                try parse(operands: Array(rest), into: &values)
                rest = []
            default:
                guard argument.hasPrefix("-"), argument != "-" else {
                    try parse(operands: [argument], into: &values)
                    continue
                }
                try parse(flag: argument, rest: &rest, into: &values)
            }
        }
        try parse(environment: environment, into: &values)
        for flag in flags where flag.isRequired && values.all(flag.name).isEmpty {
            throw CommandLineError("--\(flag.name) is required (or \(flag.environmentName))")
        }
        return .run(values)
    }

    private func parse(
        operands given: [String],
        into values: inout CommandLineValues
    ) throws(CommandLineError) {
        guard operands != nil || given.isEmpty else {
            throw CommandLineError("\(given[0]): unexpected argument, see --help")
        }
        values.operands += given
    }

    private func parse(
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

    private func parse(
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

/// One flag of a program; the parser and `--help` are both derived from it.
package struct CommandLineFlag: Sendable {
    /// The value that follows the flag.
    package enum Kind: Sendable {
        /// One value, shown in the help under this name; giving it twice is an error.
        case text(String)
        /// A value that may be repeated; in the environment, values are separated by commas.
        case list(String)
        /// A duration with a unit, within bounds.
        case duration(ClosedRange<Duration>)
        /// Nothing, or `=true` and `=false`.
        case boolean
    }

    /// The name without its dashes, such as `web.listen-address`.
    package let name: String
    package let kind: Kind
    /// What the flag does: sentences for the help.
    package let help: String
    /// The value without the flag, for the help only; the program applies it.
    package let defaultText: String?
    package let isRequired: Bool

    package init(
        _ name: String,
        _ kind: Kind,
        help: String,
        defaultText: String? = nil,
        isRequired: Bool = false
    ) {
        self.name = name
        self.kind = kind
        self.help = help
        self.defaultText = defaultText
        self.isRequired = isRequired
    }

    /// The variable that sets the flag: `STREAMVAULT_WEB_LISTEN_ADDRESS`.
    package var environmentName: String {
        "STREAMVAULT_" + name.uppercased().map { ".-".contains($0) ? "_" : String($0) }.joined()
    }

    /// Why `value` is invalid for this flag; `nil` if it is valid.
    fileprivate func error(for value: String) -> String? {
        switch kind {
        case .text, .list:
            value.isEmpty ? "must not be empty" : nil
        case .boolean:
            Bool(flagText: value) == nil ? "\"\(value)\" is neither true nor false" : nil
        case .duration(let bounds):
            durationError(for: value, bounds: bounds)
        }
    }
}

/// What a command line asks for.
package enum CommandLineRequest: Equatable, Sendable {
    /// To print this text and exit with 0.
    case help(String)
    /// To print the version and exit with 0.
    case version
    case run(CommandLineValues)
}

/// An invalid command line, in one line; the program exits with 64 (`EX_USAGE`).
package struct CommandLineError: Error, Equatable, CustomStringConvertible, Sendable {
    package let description: String

    package init(_ description: String) {
        self.description = description
    }
}

/// The values from the command line and the environment, each valid for its flag.
package struct CommandLineValues: Equatable, Sendable {
    /// The arguments that are not flags.
    package fileprivate(set) var operands: [String] = []
    private var given: [String: [String]] = [:]

    /// The values of a flag in the order given; empty when it was not given.
    package func all(_ name: String) -> [String] {
        given[name] ?? []
    }

    package func text(_ name: String) -> String? {
        given[name]?.last
    }

    package func duration(_ name: String) -> Duration? {
        text(name).flatMap { Duration(text: $0) }
    }

    /// Whether a boolean flag was given, and not as `false`.
    package func isOn(_ name: String) -> Bool {
        text(name).flatMap { Bool(flagText: $0) } ?? false
    }

    fileprivate mutating func add(
        _ value: String,
        to flag: CommandLineFlag,
        calledBy spelling: String
    ) throws(CommandLineError) {
        if let error = flag.error(for: value) {
            throw CommandLineError("\(spelling): \(error)")
        }
        if case .list = flag.kind {
            given[flag.name, default: []].append(value)
        } else if given.updateValue([value], forKey: flag.name) != nil {
            throw CommandLineError("\(spelling): given twice")
        }
    }
}

extension Bool {
    /// Reads `true`, `1`, `false` or `0`.
    fileprivate init?(flagText: String) {
        switch flagText {
        case "true", "1": self = true
        case "false", "0": self = false
        default: return nil
        }
    }
}
