import Posix

/// A JSON value to be written: the exporter reads none, and Foundation's coder would double the binary.
indirect enum JSONText: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral,
    ExpressibleByBooleanLiteral
{
    case null
    case bool(Bool)
    case integer(Int64)
    case unsigned(UInt64)
    case number(Double)
    case text(String)
    case array([JSONText])
    /// Members in the order in which they are written.
    case object([(String, JSONText)])

    init(stringLiteral value: String) { self = .text(value) }
    init(integerLiteral value: Int64) { self = .integer(value) }
    init(booleanLiteral value: Bool) { self = .bool(value) }

    static func optional<T>(_ value: T?, _ wrap: (T) -> JSONText) -> JSONText {
        value.map(wrap) ?? .null
    }

    /// Seconds of a count of nanoseconds.
    static func seconds(_ nanoseconds: UInt64) -> JSONText { .number(Double(nanoseconds) / 1e9) }

    /// UTF-8 with a line feed at the end; `indented` for people.
    func bytes(indented: Bool = false) -> [UInt8] {
        var text = ""
        write(to: &text, depth: indented ? 0 : nil)
        text += "\n"
        return Array(text.utf8)
    }

    private func write(to text: inout String, depth: Int?) {
        switch self {
        case .null: text += "null"
        case .bool(let value): text += value ? "true" : "false"
        case .integer(let value): text += "\(value)"
        case .unsigned(let value): text += "\(value)"
        case .number(let value): text += value.isFinite ? Self.number(value) : "null"
        case .text(let value): Self.quote(value, to: &text)
        case .array(let values):
            Self.list(values, "[", "]", to: &text, depth) { $0.write(to: &$1, depth: $2) }
        case .object(let members):
            Self.list(members, "{", "}", to: &text, depth) { member, text, depth in
                Self.quote(member.0, to: &text)
                text += depth == nil ? ":" : ": "
                member.1.write(to: &text, depth: depth)
            }
        }
    }

    private static func list<T>(
        _ items: [T],
        _ open: String,
        _ close: String,
        to text: inout String,
        _ depth: Int?,
        _ write: (T, inout String, Int?) -> Void
    ) {
        text += open
        for (index, item) in items.enumerated() {
            if index > 0 { text += "," }
            if let depth { text += "\n" + String(repeating: "  ", count: depth + 1) }
            write(item, &text, depth.map { $0 + 1 })
        }
        if let depth, !items.isEmpty { text += "\n" + String(repeating: "  ", count: depth) }
        text += close
    }

    private static func number(_ value: Double) -> String {
        value.rounded() == value && abs(value) < 1e15 ? "\(Int64(value))" : value.description
    }

    /// Escapes as RFC 8259, section 7, demands, and whatever a terminal would obey.
    private static func quote(_ value: String, to text: inout String) {
        text += "\""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\"": text += "\\\""
            case "\\": text += "\\\\"
            case "\n": text += "\\n"
            case _ where scalar.isInvisibleCommand: text += scalar.hexadecimalEscape
            default: text.unicodeScalars.append(scalar)
            }
        }
        text += "\""
    }
}
