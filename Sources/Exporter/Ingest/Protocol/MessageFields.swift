import JSON

/// The fields of a message, taken one by one; what nobody took is unknown.
struct MessageFields {
    /// Where they stand in the message, such as `phases[0].`; empty for the message itself.
    private let path: String
    private var members: [JSONMember]

    init(_ value: JSONValue, at path: String = "") throws(IngestRefusal) {
        guard case .object(let members) = value else {
            let place = path.isEmpty ? "a message" : "\"\(path)\""
            throw IngestRefusal(.message, "\(place) must be an object, not \(value.kind)")
        }
        (self.path, self.members) = (path.isEmpty ? "" : path + ".", members)
    }

    /// Refuses fields that nobody took.
    func finish() throws(IngestRefusal) {
        guard let unknown = members.first else { return }
        throw wrong(unknown.name, "is unknown here")
    }

    func wrong(_ name: String, _ problem: String) -> IngestRefusal {
        let shown = name.utf8.count <= 64 ? name : "…"
        return IngestRefusal(.message, "\"\(path)\(shown)\" \(problem)")
    }

    func contains(_ name: String) -> Bool { members.contains { $0.name == name } }

    mutating func take(_ name: String) -> JSONValue? {
        guard let index = members.firstIndex(where: { $0.name == name }) else { return nil }
        return members.remove(at: index).value
    }

    mutating func require(_ name: String) throws(IngestRefusal) -> JSONValue {
        guard let value = take(name) else { throw wrong(name, "is missing") }
        return value
    }

    /// Takes a string of at most `bytes` bytes of UTF-8.
    mutating func text(_ name: String, most bytes: Int) throws(IngestRefusal) -> String {
        try text(require(name), name, most: bytes)
    }

    mutating func text(_ name: String, most bytes: Int, default text: String) throws(IngestRefusal)
        -> String
    {
        guard let value = take(name) else { return text }
        return try self.text(value, name, most: bytes)
    }

    func text(_ value: JSONValue, _ name: String, most bytes: Int) throws(IngestRefusal) -> String {
        guard case .string(let text) = value else {
            throw wrong(name, "must be a string, not \(value.kind)")
        }
        guard text.utf8.count <= bytes else { throw wrong(name, "is longer than \(bytes) bytes") }
        guard !text.utf8.contains(0) else { throw wrong(name, "must not hold U+0000") }
        return text
    }

    mutating func number(_ name: String) throws(IngestRefusal) -> JSONNumber {
        try number(require(name), name)
    }

    private func number(_ value: JSONValue, _ name: String) throws(IngestRefusal) -> JSONNumber {
        guard case .number(let number) = value else {
            throw wrong(name, "must be a number, not \(value.kind)")
        }
        return number
    }

    mutating func whole(_ name: String, most: UInt64 = .max) throws(IngestRefusal) -> UInt64 {
        guard let whole = try number(name).integer, whole <= most else {
            throw wrong(name, "must be a whole number from 0 to \(most)")
        }
        return whole
    }

    mutating func whole(_ name: String, most: UInt64, default number: UInt64) throws(IngestRefusal)
        -> UInt64
    {
        contains(name) ? try whole(name, most: most) : number
    }

    /// Takes a number of seconds; `nil` when it is not there, or null.
    mutating func seconds(_ name: String) throws(IngestRefusal) -> Duration? {
        guard let value = take(name), value != .null else { return nil }
        guard let nanoseconds = try number(value, name).nanoseconds,
            nanoseconds <= Self.mostNanoseconds
        else { throw wrong(name, "must be a number of seconds from 0 to 1000000000") }
        return .nanoseconds(nanoseconds)
    }

    mutating func choice<Choice>(
        _ name: String,
        of choices: KeyValuePairs<String, Choice>
    ) throws(IngestRefusal) -> Choice {
        let text = try text(name, most: 64)
        if let choice = choices.first(where: { $0.key == text }) { return choice.value }
        let known = choices.map { "\"\($0.key)\"" }.joined(separator: ", ")
        throw wrong(name, "must be one of \(known)")
    }

    /// Takes an array; empty when it is not there.
    mutating func items(_ name: String, most count: Int) throws(IngestRefusal) -> [JSONValue] {
        guard let value = take(name) else { return [] }
        guard case .array(let items) = value else {
            throw wrong(name, "must be an array, not \(value.kind)")
        }
        guard items.count <= count else { throw wrong(name, "has more than \(count) items") }
        return items
    }

    /// Takes an object of strings; empty when it is not there.
    mutating func labels(_ name: String) throws(IngestRefusal) -> [String: String] {
        guard let value = take(name) else { return [:] }
        return try labels(value, name)
    }

    func labels(_ value: JSONValue, _ name: String) throws(IngestRefusal) -> [String: String] {
        guard case .object(let members) = value else {
            throw wrong(name, "must be an object, not \(value.kind)")
        }
        var labels: [String: String] = [:]
        for member in members {
            labels[member.name] = try text(member.value, "\(name).\(member.name)", most: 143)
        }
        return labels
    }

    private static let mostNanoseconds: UInt64 = 1_000_000_000 * 1_000_000_000
}
