import Posix

extension CommandLineTable {
    /// The text of `--help`: every flag with its value, default, bounds and variable.
    package var helpText: String {
        var text = "\(program): \(summary)\n\nUsage: \(usage)\n\nFlags:\n"
        for flag in flags { text += entry(for: flag) }
        text += "  --help, -h\n        Print this text.\n"
        text += "  --version\n        Print the version.\n\n"
        text += """
            A flag is written --flag VALUE or --flag=VALUE. The variable in brackets sets the flag if
            it is not given; a list in a variable is separated by commas. Durations need a unit: h, m,
            s or ms.

            """
        return text
    }

    private var usage: String {
        let required = flags.filter(\.isRequired).map { "--\($0.name)\($0.placeholder)" }
        return ([program] + required + ["[FLAG]...", operands].compactMap(\.self))
            .joined(separator: " ")
    }

    private func entry(for flag: CommandLineFlag) -> String {
        var facts: [String] = []
        if flag.isRequired { facts.append("required") }
        if let value = flag.defaultText { facts.append("default \(value)") }
        switch flag.kind {
        case .list: facts.append("may be repeated")
        case .duration(let bounds):
            facts.append("\(bounds.lowerBound.text) to \(bounds.upperBound.text)")
        case .text, .boolean: break
        }
        let note = facts.isEmpty ? "" : " (\(facts.joined(separator: "; ")))"
        return """
              --\(flag.name)\(flag.placeholder)
                    \(flag.help)\(note)
                    [\(flag.environmentName)]

            """
    }
}

extension CommandLineFlag {
    fileprivate var placeholder: String {
        switch kind {
        case .text(let name), .list(let name): " \(name)"
        case .duration: " DURATION"
        case .boolean: ""
        }
    }
}
