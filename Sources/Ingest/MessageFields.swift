import JSON

/// The fields of a message, removed one by one: those that remain at the end are unknown.
struct MessageFields {
    /// The path within the message, such as `phases[0].`; empty for the message itself.
    private let path: String
    private var members: [JSONMember]

    init(_ value: JSONValue, at path: String = "") throws(IngestError) {
        guard case .object(let members) = value else {
            let place = path.isEmpty ? "a message" : "\"\(path)\""
            throw IngestError(.message, "\(place) must be an object, not \(value.kind)")
        }
        (self.path, self.members) = (path.isEmpty ? "" : path + ".", members)
    }

    /// Refuses the fields that remain.
    func finish() throws(IngestError) {
        guard let unknown = members.first else { return }
        throw invalid(unknown.name, "is unknown")
    }

    func invalid(_ name: String, _ reason: String) -> IngestError {
        let shown = name.utf8.count <= 64 ? name : "…"
        return IngestError(.message, "\"\(path)\(shown)\" \(reason)")
    }

    func contains(_ name: String) -> Bool { members.contains { $0.name == name } }

    mutating func remove(_ name: String) -> JSONValue? {
        guard let index = members.firstIndex(where: { $0.name == name }) else { return nil }
        return members.remove(at: index).value
    }

    mutating func require(_ name: String) throws(IngestError) -> JSONValue {
        guard let value = remove(name) else { throw invalid(name, "is missing") }
        return value
    }

    /// A string of at most `bytes` bytes of UTF-8.
    mutating func text(_ name: String, max bytes: Int) throws(IngestError) -> String {
        try text(require(name), name, max: bytes)
    }

    mutating func text(_ name: String, max bytes: Int, default text: String) throws(IngestError)
        -> String
    {
        guard let value = remove(name) else { return text }
        return try self.text(value, name, max: bytes)
    }

    func text(_ value: JSONValue, _ name: String, max bytes: Int) throws(IngestError) -> String {
        guard case .string(let text) = value else {
            throw invalid(name, "must be a string, not \(value.kind)")
        }
        guard text.utf8.count <= bytes else { throw invalid(name, "is longer than \(bytes) bytes") }
        guard !text.utf8.contains(0) else { throw invalid(name, "must not contain U+0000") }
        return text
    }

    mutating func number(_ name: String) throws(IngestError) -> JSONNumber {
        try number(require(name), name)
    }

    private func number(_ value: JSONValue, _ name: String) throws(IngestError) -> JSONNumber {
        guard case .number(let number) = value else {
            throw invalid(name, "must be a number, not \(value.kind)")
        }
        return number
    }

    mutating func integer(_ name: String, max: UInt64 = .max) throws(IngestError) -> UInt64 {
        guard let integer = try number(name).integer, integer <= max else {
            throw invalid(name, "must be a whole number from 0 to \(max)")
        }
        return integer
    }

    mutating func integer(_ name: String, max: UInt64, default number: UInt64) throws(IngestError)
        -> UInt64
    {
        contains(name) ? try integer(name, max: max) : number
    }

    /// A number of seconds; `nil` when it is missing or null.
    mutating func seconds(_ name: String) throws(IngestError) -> Duration? {
        guard let value = remove(name), value != .null else { return nil }
        guard let nanoseconds = try number(value, name).nanoseconds,
            nanoseconds <= Self.maxNanoseconds
        else { throw invalid(name, "must be a number of seconds from 0 to 1000000000") }
        return .nanoseconds(nanoseconds)
    }

    mutating func choice<Choice>(
        _ name: String,
        of choices: KeyValuePairs<String, Choice>
    ) throws(IngestError) -> Choice {
        let text = try text(name, max: 64)
        if let choice = choices.first(where: { $0.key == text }) { return choice.value }
        let known = choices.map { "\"\($0.key)\"" }.joined(separator: ", ")
        throw invalid(name, "must be one of \(known)")
    }

    /// An array; empty when it is missing.
    mutating func items(_ name: String, max count: Int) throws(IngestError) -> [JSONValue] {
        guard let value = remove(name) else { return [] }
        guard case .array(let items) = value else {
            throw invalid(name, "must be an array, not \(value.kind)")
        }
        guard items.count <= count else { throw invalid(name, "has more than \(count) items") }
        return items
    }

    /// An object of strings; empty when it is missing.
    mutating func labels(_ name: String) throws(IngestError) -> [String: String] {
        guard let value = remove(name) else { return [:] }
        return try labels(value, name)
    }

    func labels(_ value: JSONValue, _ name: String) throws(IngestError) -> [String: String] {
        guard case .object(let members) = value else {
            throw invalid(name, "must be an object, not \(value.kind)")
        }
        var labels: [String: String] = [:]
        for member in members {
            labels[member.name] = try text(member.value, "\(name).\(member.name)", max: 143)
        }
        return labels
    }

    private static let maxNanoseconds: UInt64 = 1_000_000_000 * 1_000_000_000
}
