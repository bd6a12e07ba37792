/// One flag that a program understands; the parser and `--help` are both made from it.
package struct CommandLineFlag: Sendable {
    /// What stands after the flag.
    package enum Kind: Sendable {
        /// One value, shown in the help under this name; giving it twice is an error.
        case text(String)
        /// A value that may be given again and again; in the environment, separated by commas.
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
    /// What holds without the flag, for the help only; the program applies it.
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

    /// The variable that stands in for the flag: `STREAMVAULT_WEB_LISTEN_ADDRESS`.
    package var environmentName: String {
        "STREAMVAULT_" + name.uppercased().map { ".-".contains($0) ? "_" : String($0) }.joined()
    }

    /// Why `value` cannot be this flag's, or `nil` when it can.
    func complaint(about value: String) -> String? {
        switch kind {
        case .text, .list:
            value.isEmpty ? "must not be empty" : nil
        case .boolean:
            Bool(flagText: value) == nil ? "\"\(value)\" is neither true nor false" : nil
        case .duration(let bounds):
            durationComplaint(about: value, bounds: bounds)
        }
    }
}

/// Why `text` is not a duration within `bounds`, or `nil` when it is.
package func durationComplaint(about text: String, bounds: ClosedRange<Duration>) -> String? {
    guard let duration = Duration(text: text) else {
        return "\"\(text)\" is not a duration, such as 60s, 1.5s, 500ms or 2m"
    }
    guard !bounds.contains(duration) else { return nil }
    return "must be between \(bounds.lowerBound.text) and \(bounds.upperBound.text), not \(text)"
}

extension Bool {
    /// Reads `true`, `1`, `false` or `0`.
    init?(flagText: String) {
        switch flagText {
        case "true", "1": self = true
        case "false", "0": self = false
        default: return nil
        }
    }
}
