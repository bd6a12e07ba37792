@testable import Recorder

extension JSON5Value {
    /// The value as a document, its fields sorted; the same for the same value.
    var spelling: String {
        switch self {
        case .null: "null"
        case .boolean(let isTrue): "\(isTrue)"
        case .number(let number): number.spelling
        case .text(let text): text.spelling
        case .array(let items): "[\(items.map(\.spelling).joined(separator: ","))]"
        case .object(let fields):
            "{\(fields.map { "\($0.spelling):\($1.spelling)" }.sorted().joined(separator: ","))}"
        }
    }
}

extension Double {
    fileprivate var spelling: String {
        if isNaN { return "NaN" }
        return isInfinite ? self < 0 ? "-Infinity" : "Infinity" : "\(self)"
    }
}

extension String {
    fileprivate var spelling: String {
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
