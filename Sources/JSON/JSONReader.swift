/// Reads one JSON text: RFC 8259 from programs, JSON5 (spec.json5.org) from files that people write.
///
/// Any bytes give a value or an error with its place. Nesting, and the members of one object, are bounded. Where the
/// specifications leave a choice it is strict: a duplicate name, an unpaired surrogate and, in RFC 8259, a byte order mark are
/// errors. Of JSON5, `\u` escapes in unquoted names are not supported.
package struct JSONReader {
    package enum Dialect: Sendable {
        /// RFC 8259; errors name the byte.
        case strict
        /// JSON5; errors name line and column.
        case json5

        package var maxDepth: Int { self == .strict ? 16 : 64 }
        package var maxMembers: Int { self == .strict ? 64 : 1024 }
    }

    private let bytes: [UInt8]
    private let range: Range<Int>
    private let dialect: Dialect
    private var position: Int
    private var depth = 0

    private init(_ bytes: [UInt8], _ range: Range<Int>, _ dialect: Dialect) {
        (self.bytes, self.range, self.dialect) = (bytes, range, dialect)
        position = range.lowerBound
    }

    /// Reads the text in `range`, or in all of `bytes`; places in errors count from its beginning.
    package static func read(
        _ bytes: [UInt8],
        in range: Range<Int>? = nil,
        as dialect: Dialect = .strict
    ) throws(JSONError) -> JSONValue {
        var reader = JSONReader(bytes, range ?? bytes.indices, dialect)
        if dialect == .json5 { try reader.checkEncoding() }
        let value = try reader.value()
        try reader.skipSpace()
        guard reader.peek == nil else { throw reader.error("expected the end of the text") }
        return value
    }

    /// White space of RFC 8259, section 2.
    package static func isSpace(_ byte: UInt8) -> Bool {
        byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D
    }

    /// Names the first byte that is not UTF-8: in a comment no other check would find it.
    private mutating func checkEncoding() throws(JSONError) {
        while peek != nil {
            guard let scalar = peekScalar() else { throw error("the text is not UTF-8") }
            position += scalar.utf8.count
        }
        position = range.lowerBound
    }

    // MARK: Values

    private mutating func value() throws(JSONError) -> JSONValue {
        try skipSpace()
        switch peek {
        case UInt8(ascii: "{"): return .object(try object())
        case UInt8(ascii: "["): return .array(try array())
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "-"), .some(UInt8(ascii: "0")...UInt8(ascii: "9")):
            return .number(try number())
        case UInt8(ascii: "'") where dialect == .json5: return .string(try string())
        case UInt8(ascii: "+") where dialect == .json5, UInt8(ascii: ".") where dialect == .json5,
            UInt8(ascii: "I") where dialect == .json5, UInt8(ascii: "N") where dialect == .json5:
            return .number(try number())
        default: break
        }
        if takeWord("true") { return .boolean(true) }
        if takeWord("false") { return .boolean(false) }
        if takeWord("null") { return .null }
        throw error("expected a value")
    }

    /// Takes `word`, unless it is the beginning of a longer one.
    private mutating func takeWord(_ word: StaticString) -> Bool {
        let spelling = word.description.utf8
        guard bytes[position..<range.upperBound].starts(with: spelling) else { return false }
        let start = position
        position += spelling.count
        if dialect == .json5, let scalar = peekScalar(), isPartOfName(scalar, atStart: false) {
            position = start
            return false
        }
        return true
    }

    private mutating func array() throws(JSONError) -> [JSONValue] {
        try enter()
        var items: [JSONValue] = []
        try skipSpace()
        if take("]") {
            depth -= 1
            return items
        }
        while true {
            items.append(try value())
            try skipSpace()
            if take("]") { break }
            guard take(",") else { throw error("expected ',' or ']'") }
            try skipSpace()
            if dialect == .json5, take("]") { break }
        }
        depth -= 1
        return items
    }

    private mutating func object() throws(JSONError) -> [JSONMember] {
        try enter()
        var members: [JSONMember] = []
        try skipSpace()
        if take("}") {
            depth -= 1
            return members
        }
        while true {
            members.append(try member(after: members))
            try skipSpace()
            if take("}") { break }
            guard take(",") else { throw error("expected ',' or '}'") }
            try skipSpace()
            if dialect == .json5, take("}") { break }
        }
        depth -= 1
        return members
    }

    private mutating func member(after members: [JSONMember]) throws(JSONError) -> JSONMember {
        let start = position
        let name = try name()
        guard members.count < dialect.maxMembers else {
            throw error("more than \(dialect.maxMembers) members", at: start)
        }
        // Not by `==`, which regards two spellings of an accented letter as equal.
        guard !members.contains(where: { $0.name.utf8.elementsEqual(name.utf8) }) else {
            throw error("duplicate name", at: start)
        }
        try skipSpace()
        guard take(":") else { throw error("expected ':' after the name") }
        return JSONMember(name: name, value: try value())
    }

    private mutating func name() throws(JSONError) -> String {
        switch dialect {
        case .strict:
            guard peek == UInt8(ascii: "\"") else { throw error("expected a name in quotes") }
            return try string()
        case .json5:
            if peek == UInt8(ascii: "\"") || peek == UInt8(ascii: "'") { return try string() }
            var name = String.UnicodeScalarView()
            while let scalar = peekScalar(), isPartOfName(scalar, atStart: name.isEmpty) {
                name.append(scalar)
                position += scalar.utf8.count
            }
            guard !name.isEmpty else { throw error("expected a name or '}'") }
            return String(name)
        }
    }

    private mutating func enter() throws(JSONError) {
        guard depth < dialect.maxDepth else {
            throw error("nested deeper than \(dialect.maxDepth)")
        }
        depth += 1
        position += 1
    }

    // MARK: Strings

    /// Reads a string, from its opening quote on.
    private mutating func string() throws(JSONError) -> String {
        let start = position
        let quote = bytes[position]
        position += 1
        let first = position
        skipPlainBytes(until: quote)
        if peek == quote {
            defer { position += 1 }
            return try text(bytes[first..<position], from: start)
        }
        var content = Array(bytes[first..<position])
        while let byte = peek {
            switch byte {
            case quote:
                position += 1
                return try text(content[...], from: start)
            case UInt8(ascii: "\\"):
                if let scalar = try escape() { content += scalar.utf8 }
            default:
                let isLineEnd = byte == UInt8(ascii: "\n") || byte == UInt8(ascii: "\r")
                guard !isLineEnd || dialect == .strict else {
                    throw error("the string is not closed", at: start)
                }
                guard byte >= 0x20 || dialect == .json5 else {
                    throw error("a control character must be escaped")
                }
                content.append(byte)
                position += 1
            }
        }
        throw error("the string is not closed", at: start)
    }

    private mutating func skipPlainBytes(until quote: UInt8) {
        while let byte = peek, byte != quote, byte != UInt8(ascii: "\\"), byte >= 0x20 {
            position += 1
        }
    }

    private func text(_ content: ArraySlice<UInt8>, from start: Int) throws(JSONError) -> String {
        guard let text = String(validating: content, as: UTF8.self) else {
            throw error("the string is not UTF-8", at: start)
        }
        return text
    }

    /// The scalar that an escape stands for; `nil` for a line that continues.
    private mutating func escape() throws(JSONError) -> Unicode.Scalar? {
        let start = position
        position += 1
        let letter = peek
        position += 1
        switch letter {
        case UInt8(ascii: "\""): return "\""
        case UInt8(ascii: "\\"): return "\\"
        case UInt8(ascii: "/"): return "/"
        case UInt8(ascii: "b"): return "\u{8}"
        case UInt8(ascii: "f"): return "\u{C}"
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "t"): return "\t"
        case UInt8(ascii: "u"): return try unicodeEscape(from: start)
        default: break
        }
        guard dialect == .json5 else { throw error("invalid escape", at: start) }
        switch letter {
        case UInt8(ascii: "v"): return "\u{B}"
        case UInt8(ascii: "0") where !(peek.map(isDigit) ?? false): return "\0"
        case UInt8(ascii: "x"): return Unicode.Scalar(try hexadecimal(digits: 2, from: start))
        case UInt8(ascii: "\r"):
            _ = take("\n")
            return nil
        case UInt8(ascii: "\n"): return nil
        case nil, .some(UInt8(ascii: "0")...UInt8(ascii: "9")):
            throw error("invalid escape", at: start)
        default:
            position -= 1
            guard let scalar = peekScalar() else { throw error("invalid escape", at: start) }
            position += scalar.utf8.count
            return scalar == "\u{2028}" || scalar == "\u{2029}" ? nil : scalar
        }
    }

    /// Reads the digits after `\u`, and with them the second half of a surrogate pair.
    private mutating func unicodeEscape(from start: Int) throws(JSONError) -> Unicode.Scalar {
        var code = try hexadecimal(digits: 4, from: start)
        if (0xD800..<0xDC00).contains(code), take("\\"), take("u") {
            let low = try hexadecimal(digits: 4, from: start)
            guard (0xDC00..<0xE000).contains(low) else {
                throw error("unpaired surrogate", at: start)
            }
            code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
        }
        guard let scalar = Unicode.Scalar(code) else {
            throw error("unpaired surrogate", at: start)
        }
        return scalar
    }

    private mutating func hexadecimal(digits: Int, from start: Int) throws(JSONError) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<digits {
            guard let digit = peek.flatMap(hexadecimalValue) else {
                throw error("invalid escape", at: start)
            }
            value = value << 4 | UInt32(digit)
            position += 1
        }
        return value
    }

    // MARK: Numbers

    /// Reads a number, from its sign or first digit on.
    private mutating func number() throws(JSONError) -> JSONNumber {
        let start = position
        let isNegative = take("-")
        if dialect == .json5, !isNegative { _ = take("+") }
        if dialect == .json5, let special = try specialNumber(from: start, isNegative) {
            return special
        }
        let integer = takeDigits()
        guard integer.count < 2 || bytes[integer.lowerBound] != UInt8(ascii: "0") else {
            throw error("a number must not begin with a zero", at: start)
        }
        var fraction = position..<position
        if take(".") {
            fraction = takeDigits()
            guard !fraction.isEmpty || dialect == .json5 else {
                throw error("invalid number", at: start)
            }
        }
        guard !integer.isEmpty || dialect == .json5 && !fraction.isEmpty else {
            throw error("invalid number", at: start)
        }
        let exponent = position
        if take("e") || take("E") {
            if !take("+") { _ = take("-") }
            guard !takeDigits().isEmpty else { throw error("invalid number", at: start) }
        }
        guard dialect == .json5 else { return JSONNumber(spelling: bytes[start..<position]) }
        guard !continuesNumber else { throw error("invalid number", at: start) }
        // Digits that JSON5 lets out are added: every number is spelled as in RFC 8259.
        var spelling: [UInt8] = isNegative ? [UInt8(ascii: "-")] : []
        spelling += integer.isEmpty ? [UInt8(ascii: "0")] : bytes[integer]
        if !fraction.isEmpty { spelling += [UInt8(ascii: ".")] + bytes[fraction] }
        spelling += bytes[exponent..<position]
        return JSONNumber(spelling: spelling[...])
    }

    /// Reads what JSON5 adds: `Infinity`, `NaN` and hexadecimal integers up to 64 bits.
    private mutating func specialNumber(
        from start: Int,
        _ isNegative: Bool
    ) throws(JSONError) -> JSONNumber? {
        let sign = isNegative ? "-" : ""
        if takeWord("Infinity") { return JSONNumber(spelling: Array("\(sign)inf".utf8)[...]) }
        if takeWord("NaN") { return JSONNumber(spelling: Array("nan".utf8)[...]) }
        guard peek == UInt8(ascii: "0"), position + 1 < range.upperBound,
            bytes[position + 1] | 0x20 == UInt8(ascii: "x")
        else { return nil }
        position += 2
        let first = position
        var value: UInt64 = 0
        while let digit = peek.flatMap(hexadecimalValue) {
            guard value >> 60 == 0 else { throw error("invalid number", at: start) }
            value = value << 4 | UInt64(digit)
            position += 1
        }
        guard position > first, !continuesNumber else { throw error("invalid number", at: start) }
        return JSONNumber(spelling: Array("\(sign)\(value)".utf8)[...])
    }

    private var continuesNumber: Bool {
        guard let scalar = peekScalar() else { return false }
        let isSign = scalar == "+" || scalar == "-" || scalar == "."
        return isSign || isPartOfName(scalar, atStart: false)
    }

    private mutating func takeDigits() -> Range<Int> {
        let first = position
        while let byte = peek, isDigit(byte) { position += 1 }
        return first..<position
    }

    // MARK: Characters

    private var peek: UInt8? { position < range.upperBound ? bytes[position] : nil }

    /// The next scalar; `nil` at the end, and where the bytes are not UTF-8.
    private func peekScalar() -> Unicode.Scalar? {
        guard let byte = peek else { return nil }
        if byte < 0x80 { return Unicode.Scalar(byte) }
        let end = min(position + 4, range.upperBound)
        var iterator = bytes[position..<end].makeIterator()
        var decoder = UTF8()
        guard case .scalarValue(let scalar) = decoder.decode(&iterator) else { return nil }
        return scalar
    }

    /// Takes the next byte if it is `character`.
    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard peek == UInt8(ascii: character) else { return false }
        position += 1
        return true
    }

    /// Skips white space, and in JSON5 comments and the white space of Unicode.
    private mutating func skipSpace() throws(JSONError) {
        while let byte = peek {
            if JSONReader.isSpace(byte) {
                position += 1
            } else if dialect == .strict {
                return
            } else if byte == UInt8(ascii: "/") {
                try skipComment()
            } else if let scalar = peekScalar(),
                scalar.properties.isWhitespace || scalar == "\u{FEFF}"
            {
                position += scalar.utf8.count
            } else {
                return
            }
        }
    }

    private mutating func skipComment() throws(JSONError) {
        let start = position
        position += 1
        if take("/") {
            while let byte = peek {
                if byte == UInt8(ascii: "\n") || byte == UInt8(ascii: "\r") { return }
                let scalar = peekScalar()
                if scalar == "\u{2028}" || scalar == "\u{2029}" { return }
                position += scalar?.utf8.count ?? 1
            }
            return
        }
        guard take("*") else { throw error("expected a value or a comment", at: start) }
        while let byte = peek {
            position += 1
            if byte == UInt8(ascii: "*"), take("/") { return }
        }
        throw error("the comment is not closed", at: start)
    }

    /// The error with its reason, at the current position or at `place`.
    private func error(_ reason: String, at place: Int? = nil) -> JSONError {
        let before = bytes[range.lowerBound..<min(place ?? position, range.upperBound)]
        guard dialect == .json5 else {
            let offset = (place ?? position) - range.lowerBound
            return JSONError(place: .byte(offset + 1), reason: reason)
        }
        let line = before.count { $0 == UInt8(ascii: "\n") } + 1
        let lineStart = before.lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? before.startIndex
        let column = before[lineStart...].count { $0 & 0xC0 != 0x80 } + 1
        return JSONError(place: .line(line, column: column), reason: reason)
    }
}

/// Whether a scalar belongs to an identifier of ECMAScript, the unquoted name of JSON5.
private func isPartOfName(_ scalar: Unicode.Scalar, atStart: Bool) -> Bool {
    if scalar == "$" || scalar == "_" { return true }
    return atStart ? scalar.properties.isIDStart : scalar.properties.isIDContinue
}

private func hexadecimalValue(_ byte: UInt8) -> UInt8? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
    default: nil
    }
}
