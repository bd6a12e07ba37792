/// Reads one JSON text (RFC 8259), and nothing but that: any bytes give a value, or an error with its position.
///
/// Bounded: nesting, and members of one object. Stricter than the RFC where it leaves a choice: a name that an object has
/// twice, half a surrogate pair and a byte order mark are errors. The recorder's JSON5 is another grammar in every token,
/// and is read where Foundation is at hand; the two share nothing.
struct JSONReader {
    static let deepest = 16
    static let mostMembers = 64

    let bytes: [UInt8]
    let range: Range<Int>
    var position: Int
    private var depth = 0

    private init(_ bytes: [UInt8], _ range: Range<Int>) {
        (self.bytes, self.range) = (bytes, range)
        position = range.lowerBound
    }

    /// Reads the text that stands in `range`; positions in errors count from its beginning.
    static func read(_ bytes: [UInt8], in range: Range<Int>) throws(JSONError) -> JSONValue {
        var reader = JSONReader(bytes, range)
        let value = try reader.value()
        reader.skipSpace()
        guard reader.peek == nil else { throw reader.error("expected nothing more") }
        return value
    }

    var peek: UInt8? { position < range.upperBound ? bytes[position] : nil }

    /// Takes the next byte if it is `character`.
    mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard peek == UInt8(ascii: character) else { return false }
        position += 1
        return true
    }

    /// The problem, where the reader stands or at `place`.
    func error(_ problem: String, at place: Int? = nil) -> JSONError {
        JSONError(position: (place ?? position) - range.lowerBound + 1, problem: problem)
    }

    private mutating func skipSpace() {
        while let byte = peek, JSONReader.isSpace(byte) { position += 1 }
    }

    /// White space as RFC 8259, section 2, has it.
    static func isSpace(_ byte: UInt8) -> Bool {
        byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D
    }

    private mutating func value() throws(JSONError) -> JSONValue {
        skipSpace()
        switch peek {
        case UInt8(ascii: "{"): return .object(try object())
        case UInt8(ascii: "["): return .array(try array())
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "-"), .some(UInt8(ascii: "0")...UInt8(ascii: "9")):
            return .number(try number())
        case UInt8(ascii: "t"): return try word("true", .boolean(true))
        case UInt8(ascii: "f"): return try word("false", .boolean(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        default: throw error("expected a value")
        }
    }

    private mutating func word(_ word: StaticString, _ value: JSONValue) throws(JSONError)
        -> JSONValue
    {
        let spelling = word.description.utf8
        guard bytes[position..<range.upperBound].starts(with: spelling) else {
            throw error("expected a value")
        }
        position += spelling.count
        return value
    }

    private mutating func array() throws(JSONError) -> [JSONValue] {
        try enter()
        var items: [JSONValue] = []
        skipSpace()
        guard !take("]") else { return leave(items) }
        while true {
            items.append(try value())
            skipSpace()
            if take("]") { return leave(items) }
            guard take(",") else { throw error("expected ',' or ']'") }
        }
    }

    private mutating func object() throws(JSONError) -> [JSONMember] {
        try enter()
        var members: [JSONMember] = []
        skipSpace()
        guard !take("}") else { return leave(members) }
        while true {
            members.append(try member(after: members))
            skipSpace()
            if take("}") { return leave(members) }
            guard take(",") else { throw error("expected ',' or '}'") }
        }
    }

    private mutating func member(after members: [JSONMember]) throws(JSONError) -> JSONMember {
        skipSpace()
        let start = position
        guard peek == UInt8(ascii: "\"") else { throw error("expected a name in quotes") }
        let name = try string()
        guard members.count < Self.mostMembers else {
            throw error("more than \(Self.mostMembers) members", at: start)
        }
        // Not by `==`, for which two spellings of one accented letter are the same.
        guard !members.contains(where: { $0.name.utf8.elementsEqual(name.utf8) }) else {
            throw error("the name is there twice", at: start)
        }
        skipSpace()
        guard take(":") else { throw error("expected ':'") }
        return JSONMember(name: name, value: try value())
    }

    private mutating func enter() throws(JSONError) {
        guard depth < Self.deepest else { throw error("nested deeper than \(Self.deepest)") }
        depth += 1
        position += 1
    }

    private mutating func leave<T>(_ items: [T]) -> [T] {
        depth -= 1
        return items
    }
}
