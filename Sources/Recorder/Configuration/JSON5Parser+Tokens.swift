extension JSON5Parser {
    /// Passes over white space and comments.
    mutating func skipSpace() throws(JSON5Error) {
        while let scalar = peek {
            if scalar == "/" {
                try skipComment()
            } else if scalar.properties.isWhitespace || scalar == "\u{FEFF}" {
                position += 1
            } else {
                return
            }
        }
    }

    private mutating func skipComment() throws(JSON5Error) {
        let start = position
        position += 1
        if take("/") {
            while let scalar = peek, !scalar.endsLine { position += 1 }
            return
        }
        guard take("*") else { throw error("expected a value or a comment", at: start) }
        while let scalar = next() {
            if scalar == "*", take("/") { return }
        }
        throw error("the comment is not closed", at: start)
    }

    /// Reads a string in either kind of quotes.
    mutating func string() throws(JSON5Error) -> String {
        let start = position
        let quote = next()
        var text = String.UnicodeScalarView()
        while let scalar = next() {
            if scalar == quote { return String(text) }
            if scalar == "\\" {
                if let escaped = try escape() { text.append(escaped) }
                continue
            }
            guard scalar != "\n", scalar != "\r" else { break }
            text.append(scalar)
        }
        throw error("the string is not closed", at: start)
    }

    /// The scalar that an escape stands for; `nil` for a line that is continued.
    private mutating func escape() throws(JSON5Error) -> Unicode.Scalar? {
        let start = position - 1
        switch next() {
        case "b": return "\u{8}"
        case "f": return "\u{C}"
        case "n": return "\n"
        case "r": return "\r"
        case "t": return "\t"
        case "v": return "\u{B}"
        case "0": return "\0"
        case "x": return Unicode.Scalar(try hexadecimal(digits: 2))
        case "u": return try unicodeEscape(from: start)
        case "\r":
            _ = take("\n")
            return nil
        case "\n", "\u{2028}", "\u{2029}": return nil
        case .some("1"..."9"), nil: throw error("unknown escape", at: start)
        case .some(let scalar): return scalar
        }
    }

    /// Reads the digits after `\u`, and with them the second half of a surrogate pair.
    private mutating func unicodeEscape(from start: Int) throws(JSON5Error) -> Unicode.Scalar {
        var code = try hexadecimal(digits: 4)
        if (0xD800..<0xDC00).contains(code), take("\\"), take("u") {
            let low = try hexadecimal(digits: 4)
            guard (0xDC00..<0xE000).contains(low) else { throw error("half a pair", at: start) }
            code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
        }
        guard let scalar = Unicode.Scalar(code) else { throw error("half a pair", at: start) }
        return scalar
    }

    private mutating func hexadecimal(digits: Int) throws(JSON5Error) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<digits {
            guard let digit = peek?.hexadecimalDigit else { throw error("expected a hex digit") }
            value = value << 4 | digit
            position += 1
        }
        return value
    }

    /// Reads a number: signs, hexadecimal, a bare point before or after, `Infinity` and `NaN`.
    mutating func number() throws(JSON5Error) -> Double {
        let start = position
        while let scalar = peek, scalar.isPartOfNumber { position += 1 }
        let spelling = String(String.UnicodeScalarView(scalars[start..<position]))
        guard let number = Self.number(spelling) else { throw error("not a number", at: start) }
        return number
    }

    private static func number(_ spelling: String) -> Double? {
        let isNegative = spelling.hasPrefix("-")
        let digits = isNegative || spelling.hasPrefix("+") ? spelling.dropFirst() : spelling[...]
        guard let size = magnitude(digits) else { return nil }
        return isNegative ? -size : size
    }

    private static func magnitude(_ digits: Substring) -> Double? {
        if digits == "Infinity" { return .infinity }
        if digits == "NaN" { return .nan }
        if digits.hasPrefix("0x") || digits.hasPrefix("0X") {
            let rest = digits.dropFirst(2)
            guard rest.allSatisfy(\.isHexDigit) else { return nil }
            return UInt64(rest, radix: 16).map { Double($0) }
        }
        let mantissa = digits.prefix { $0 != "e" && $0 != "E" }
        guard mantissa.contains(where: \.isNumber),
            !mantissa.contains(where: { $0 == "+" || $0 == "-" }),
            !(mantissa.hasPrefix("0") && mantissa.dropFirst().first?.isNumber == true)
        else { return nil }
        return Double(mantissa.hasPrefix(".") ? "0" + digits : String(digits))
    }
}

extension Unicode.Scalar {
    fileprivate var endsLine: Bool {
        self == "\n" || self == "\r" || self == "\u{2028}" || self == "\u{2029}"
    }

    fileprivate var isPartOfNumber: Bool {
        let isSign = self == "+" || self == "-" || self == "."
        return isASCII && (isSign || properties.isAlphabetic || ("0"..."9").contains(self))
    }

    fileprivate var hexadecimalDigit: UInt32? {
        switch self {
        case "0"..."9": value - 0x30
        case "a"..."f": value - 0x61 + 10
        case "A"..."F": value - 0x41 + 10
        default: nil
        }
    }
}
