/// A value of a JSON5 document.
enum JSON5Value: Equatable {
    case null
    case boolean(Bool)
    case number(Double)
    case text(String)
    case array([JSON5Value])
    case object([String: JSON5Value])

    /// What the value is, for people.
    var kind: String {
        switch self {
        case .null: "null"
        case .boolean: "a boolean"
        case .number: "a number"
        case .text: "a string"
        case .array: "an array"
        case .object: "an object"
        }
    }
}

/// A document that is not JSON5, and where: `line 3, column 5: expected ',' or '}'`.
struct JSON5Error: Error, Equatable, CustomStringConvertible {
    let line: Int
    /// Counted in Unicode scalars, from 1.
    let column: Int
    let problem: String

    var description: String { "line \(line), column \(column): \(problem)".withoutControls }
}

extension String {
    /// With control characters as escapes: what names a mistake must stay one line, and tell a terminal nothing.
    var withoutControls: String {
        unicodeScalars.map { scalar in
            guard scalar.properties.generalCategory == .control else { return String(scalar) }
            return "\\u{\(String(scalar.value, radix: 16, uppercase: true))}"
        }
        .joined()
    }
}
