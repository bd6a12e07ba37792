/// Reads JSON5 (spec.json5.org) and says where a document goes wrong.
///
/// Foundation's decoder reads JSON5 too, but on Linux it tells neither line nor column, and takes one of two fields of
/// the same name in silence. A name that is given twice is an error here; `\u` escapes in unquoted names are not read.
struct JSON5Parser {
    let scalars: [Unicode.Scalar]
    var position = 0
    private var depth = 0

    private static let deepest = 64

    private init(_ text: String) {
        scalars = Array(text.unicodeScalars)
    }

    static func parse(_ text: String) throws(JSON5Error) -> JSON5Value {
        var parser = JSON5Parser(text)
        let value = try parser.value()
        try parser.skipSpace()
        guard parser.peek == nil else { throw parser.error("expected the end of the file") }
        return value
    }

    var peek: Unicode.Scalar? { position < scalars.count ? scalars[position] : nil }

    /// Takes the next scalar if it is `scalar`.
    mutating func take(_ scalar: Unicode.Scalar) -> Bool {
        guard peek == scalar else { return false }
        position += 1
        return true
    }

    mutating func next() -> Unicode.Scalar? {
        guard let scalar = peek else { return nil }
        position += 1
        return scalar
    }

    /// The problem, at the place where the parser stands or at `place`.
    func error(_ problem: String, at place: Int? = nil) -> JSON5Error {
        let before = scalars[..<(place ?? position)]
        let line = before.count { $0 == "\n" } + 1
        let lineStart = before.lastIndex(of: "\n").map { $0 + 1 } ?? 0
        return JSON5Error(line: line, column: before.count - lineStart + 1, problem: problem)
    }

    mutating func value() throws(JSON5Error) -> JSON5Value {
        try skipSpace()
        switch peek {
        case "{": return try nested { (parser) throws(JSON5Error) in try parser.object() }
        case "[": return try nested { (parser) throws(JSON5Error) in try parser.array() }
        case "\"", "'": return .text(try string())
        case "+", "-", ".", .some("0"..."9"), "I", "N": return .number(try number())
        default: return try word()
        }
    }

    private mutating func nested(
        _ body: (inout JSON5Parser) throws(JSON5Error) -> JSON5Value
    ) throws(JSON5Error) -> JSON5Value {
        guard depth < Self.deepest else { throw error("nested deeper than \(Self.deepest)") }
        position += 1
        depth += 1
        let value = try body(&self)
        depth -= 1
        return value
    }

    private mutating func word() throws(JSON5Error) -> JSON5Value {
        let start = position
        switch identifier() {
        case "true": return .boolean(true)
        case "false": return .boolean(false)
        case "null": return .null
        default: throw error("expected a value", at: start)
        }
    }

    private mutating func array() throws(JSON5Error) -> JSON5Value {
        var items: [JSON5Value] = []
        while true {
            try skipSpace()
            if take("]") { return .array(items) }
            items.append(try value())
            try skipSpace()
            guard take(",") || peek == "]" else { throw error("expected ',' or ']'") }
        }
    }

    private mutating func object() throws(JSON5Error) -> JSON5Value {
        var fields: [String: JSON5Value] = [:]
        while true {
            try skipSpace()
            if take("}") { return .object(fields) }
            let start = position
            let name = try fieldName()
            try skipSpace()
            guard take(":") else { throw error("expected ':' after \"\(name)\"") }
            guard fields.updateValue(try value(), forKey: name) == nil else {
                throw error("\"\(name)\" is given twice", at: start)
            }
            try skipSpace()
            guard take(",") || peek == "}" else { throw error("expected ',' or '}'") }
        }
    }

    private mutating func fieldName() throws(JSON5Error) -> String {
        if peek == "\"" || peek == "'" { return try string() }
        let name = identifier()
        guard !name.isEmpty else { throw error("expected a field's name or '}'") }
        return name
    }

    private mutating func identifier() -> String {
        var name = String.UnicodeScalarView()
        while let scalar = peek, scalar.isPartOfName(atStart: name.isEmpty) {
            name.append(scalar)
            position += 1
        }
        return String(name)
    }
}

extension Unicode.Scalar {
    fileprivate func isPartOfName(atStart: Bool) -> Bool {
        if self == "$" || self == "_" { return true }
        return atStart ? properties.isIDStart : properties.isIDContinue
    }
}
