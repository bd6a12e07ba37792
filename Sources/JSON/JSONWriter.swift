import Posix

/// Writes a JSON text (RFC 8259) in UTF-8.
package enum JSONWriter {
    package enum Layout: Sendable {
        /// Without spaces and line feeds.
        case compact
        /// As `compact`, with a line feed at the end.
        case line
        /// One item a line, indented by two spaces a level, with a line feed at the end.
        case indented
    }

    package static func write(_ value: JSONValue, _ layout: Layout) -> [UInt8] {
        var text = ""
        append(value, to: &text, indentation: layout == .indented ? "\n" : nil)
        if layout != .compact { text += "\n" }
        return Array(text.utf8)
    }

    /// Appends a value; `indentation` is the line feed and the spaces that precede its closing bracket.
    private static func append(
        _ value: JSONValue,
        to text: inout String,
        indentation: String?
    ) {
        let inner = indentation.map { $0 + "  " }
        switch value {
        case .null: text += "null"
        case .boolean(let isTrue): text += isTrue ? "true" : "false"
        case .number(let number): text += number.text ?? "null"
        case .string(let string): append(string, to: &text)
        case .array(let items):
            text += "["
            for (index, item) in items.enumerated() {
                text += (index > 0 ? "," : "") + (inner ?? "")
                append(item, to: &text, indentation: inner)
            }
            text += (items.isEmpty ? "" : indentation ?? "") + "]"
        case .object(let members):
            text += "{"
            for (index, member) in members.enumerated() {
                text += (index > 0 ? "," : "") + (inner ?? "")
                append(member.name, to: &text)
                text += indentation == nil ? ":" : ": "
                append(member.value, to: &text, indentation: inner)
            }
            text += (members.isEmpty ? "" : indentation ?? "") + "}"
        }
    }

    /// Appends a string in quotes, with the escapes of RFC 8259, section 7.
    ///
    /// Characters that a terminal or a script would interpret instead of showing them are escaped too: C1 controls,
    /// U+2028, U+2029, and those that change the direction of text.
    private static func append(_ string: String, to text: inout String) {
        text += "\""
        for scalar in string.unicodeScalars {
            switch scalar {
            case "\"": text += "\\\""
            case "\\": text += "\\\\"
            case " "..."~": text.unicodeScalars.append(scalar)
            case "\n": text += "\\n"
            case _ where scalar.isControl: text += scalar.hexadecimalEscape
            default: text.unicodeScalars.append(scalar)
            }
        }
        text += "\""
    }
}
