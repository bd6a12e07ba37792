/// A value of a JSON text that was read; see `JSONText` for one to be written.
enum JSONValue: Equatable {
    case null
    case boolean(Bool)
    case number(JSONNumber)
    case string(String)
    case array([JSONValue])
    /// Members in the order of the text, each name once.
    case object([JSONMember])

    /// What the value is, for people.
    var kind: String {
        switch self {
        case .null: "null"
        case .boolean: "a boolean"
        case .number: "a number"
        case .string: "a string"
        case .array: "an array"
        case .object: "an object"
        }
    }
}

/// A name and its value in an object.
struct JSONMember: Equatable {
    let name: String
    let value: JSONValue
}

/// Why a text is not JSON, and at which byte, counted from 1.
struct JSONError: Error, Equatable, CustomStringConvertible {
    let position: Int
    let problem: String

    var description: String { "\(problem) at byte \(position)" }
}
