import JSON

extension JSONValue {
    /// The value as a document, its members sorted; the same for the same value.
    var spelling: String {
        switch self {
        case .null: "null"
        case .boolean(let isTrue): "\(isTrue)"
        case .number(let number): number.double.map(\.spelling) ?? "Infinity"
        case .string(let text): text.spelling
        case .array(let items): arraySpelling(items.map(\.spelling))
        case .object(let members): objectSpelling(members.map { ($0.name, $0.value.spelling) })
        }
    }
}

func arraySpelling(_ items: [String]) -> String {
    "[\(items.joined(separator: ","))]"
}

func objectSpelling(_ members: [(String, String)]) -> String {
    "{\(members.map { "\($0.spelling):\($1)" }.sorted().joined(separator: ","))}"
}

extension Double {
    var spelling: String {
        if isNaN { return "NaN" }
        return isInfinite ? self < 0 ? "-Infinity" : "Infinity" : "\(self)"
    }
}

extension String {
    var spelling: String {
        let escaped = unicodeScalars.map { scalar in
            switch scalar {
            case "\"", "\\": "\\\(scalar)"
            case "\n": "\\n"
            case "\r": "\\r"
            default: String(scalar)
            }
        }
        return "\"\(escaped.joined())\""
    }
}
