extension JSONReader {
    /// Reads a string, from its opening quote on.
    mutating func string() throws(JSONError) -> String {
        let start = position
        position += 1
        let first = position
        while let byte = peek, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\") {
            guard byte >= 0x20 else { throw error("a control character must be escaped") }
            position += 1
        }
        if peek == UInt8(ascii: "\\") { return try stringWithEscapes(from: start, first) }
        guard peek != nil else { throw error("the string is not closed", at: start) }
        defer { position += 1 }
        return try text(bytes[first..<position], from: start)
    }

    private mutating func stringWithEscapes(
        from start: Int,
        _ first: Int
    ) throws(JSONError) -> String {
        var content = Array(bytes[first..<position])
        while let byte = peek {
            switch byte {
            case UInt8(ascii: "\""):
                position += 1
                return try text(content[...], from: start)
            case UInt8(ascii: "\\"):
                content += String(try escape()).utf8
            default:
                guard byte >= 0x20 else { throw error("a control character must be escaped") }
                content.append(byte)
                position += 1
            }
        }
        throw error("the string is not closed", at: start)
    }

    private func text(_ content: ArraySlice<UInt8>, from start: Int) throws(JSONError) -> String {
        guard let text = String(validating: content, as: UTF8.self) else {
            throw error("the string is not UTF-8", at: start)
        }
        return text
    }

    private mutating func escape() throws(JSONError) -> Unicode.Scalar {
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
        default: throw error("unknown escape", at: start)
        }
    }

    /// Reads the digits after `\u`, and with them the second half of a surrogate pair.
    private mutating func unicodeEscape(from start: Int) throws(JSONError) -> Unicode.Scalar {
        var code = try fourDigits(from: start)
        if (0xD800..<0xDC00).contains(code), take("\\"), take("u") {
            let low = try fourDigits(from: start)
            guard (0xDC00..<0xE000).contains(low) else {
                throw error("half a surrogate pair", at: start)
            }
            code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
        }
        guard let scalar = Unicode.Scalar(code) else {
            throw error("half a surrogate pair", at: start)
        }
        return scalar
    }

    private mutating func fourDigits(from start: Int) throws(JSONError) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<4 {
            guard let byte = peek, let digit = hexadecimalDigit(byte) else {
                throw error("unknown escape", at: start)
            }
            value = value << 4 | digit
            position += 1
        }
        return value
    }

    private func hexadecimalDigit(_ byte: UInt8) -> UInt32? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt32(byte - UInt8(ascii: "0"))
        case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt32(byte - UInt8(ascii: "a")) + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt32(byte - UInt8(ascii: "A")) + 10
        default: nil
        }
    }
}

extension JSONReader {
    /// Reads a number, from its sign or first digit on.
    mutating func number() throws(JSONError) -> JSONNumber {
        let start = position
        let isNegative = take("-")
        let whole = try digits(from: start)
        guard bytes[whole.lowerBound] != UInt8(ascii: "0") || whole.count == 1 else {
            throw error("a number does not begin with a zero", at: start)
        }
        var significant = bytes[whole]
        var places = 0
        if take(".") {
            let fraction = try digits(from: start)
            significant += bytes[fraction]
            places = fraction.count
        }
        let exponent = try exponent(from: start)
        return JSONNumber(
            isNegative: isNegative,
            digits: significant,
            exponent: exponent - places,
            spelling: bytes[start..<position]
        )
    }

    private mutating func exponent(from start: Int) throws(JSONError) -> Int {
        guard take("e") || take("E") else { return 0 }
        let isNegative = !take("+") && take("-")
        var exponent = 0
        for digit in bytes[try digits(from: start)] {
            exponent = exponent * 10 + Int(digit - UInt8(ascii: "0"))
            exponent = min(exponent, JSONNumber.largestExponent)
        }
        return isNegative ? -exponent : exponent
    }

    /// Takes at least one digit.
    private mutating func digits(from start: Int) throws(JSONError) -> Range<Int> {
        let first = position
        while let byte = peek, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) {
            position += 1
        }
        guard position > first else { throw error("the number lacks a digit", at: start) }
        return first..<position
    }
}
