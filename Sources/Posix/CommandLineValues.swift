/// What a command line asks for.
package enum CommandLineRequest: Equatable, Sendable {
    /// To print this text and leave with 0.
    case help(String)
    /// To print the version and leave with 0.
    case version
    case run(CommandLineValues)
}

/// A command line that cannot be obeyed, in one line; the program leaves with 64 (`EX_USAGE`).
package struct CommandLineError: Error, Equatable, CustomStringConvertible, Sendable {
    package let description: String

    package init(_ description: String) {
        self.description = description
    }
}

/// The values given on the command line or in the environment; each holds what its flag demands.
package struct CommandLineValues: Equatable, Sendable {
    /// What followed the flags.
    package internal(set) var operands: [String] = []
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

    mutating func add(
        _ value: String,
        to flag: CommandLineFlag,
        calledBy spelling: String
    ) throws(CommandLineError) {
        if let complaint = flag.complaint(about: value) {
            throw CommandLineError("\(spelling): \(complaint)")
        }
        if case .list = flag.kind {
            given[flag.name, default: []].append(value)
        } else if given.updateValue([value], forKey: flag.name) != nil {
            throw CommandLineError("\(spelling): given twice")
        }
    }
}
