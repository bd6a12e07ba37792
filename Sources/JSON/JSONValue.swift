/// A value of a JSON text; literals, such as `["ok": true]`, make one to be written.
package enum JSONValue: Equatable, Sendable {
    case null
    case boolean(Bool)
    case number(JSONNumber)
    case string(String)
    case array([JSONValue])
    /// Members in the order of the text, each name once.
    case object([JSONMember])

    /// The value's type with its article, for messages.
    package var kind: String {
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
package struct JSONMember: Equatable, Sendable {
    package let name: String
    package let value: JSONValue

    package init(name: String, value: JSONValue) {
        (self.name, self.value) = (name, value)
    }
}

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral,
    ExpressibleByBooleanLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
    package init(stringLiteral text: String) { self = .string(text) }
    package init(integerLiteral value: Int) { self = .integer(value) }
    package init(booleanLiteral value: Bool) { self = .boolean(value) }
    package init(arrayLiteral items: JSONValue...) { self = .array(items) }

    /// An object with members in the order of the literal, where each name must stand once.
    package init(dictionaryLiteral members: (String, JSONValue)...) {
        self = .object(members.map { JSONMember(name: $0, value: $1) })
    }

    package static func integer(_ value: some FixedWidthInteger) -> JSONValue {
        .number(JSONNumber(value))
    }

    /// The number; `null` for infinities and NaN, which JSON cannot express.
    package static func double(_ value: Double) -> JSONValue {
        JSONNumber(value).map { .number($0) } ?? .null
    }
}

extension JSONValue {
    package var string: String? { if case .string(let text) = self { text } else { nil } }
    package var boolean: Bool? { if case .boolean(let isTrue) = self { isTrue } else { nil } }
    package var array: [JSONValue]? { if case .array(let items) = self { items } else { nil } }

    /// A member of an object; `nil` if there is none, or the value is not an object.
    ///
    /// A value that is set replaces the member of that name or is appended; `nil` removes it. Values other than
    /// objects do not change.
    package subscript(name: String) -> JSONValue? {
        get {
            guard case .object(let members) = self else { return nil }
            return members.first { $0.name.utf8.elementsEqual(name.utf8) }?.value
        }
        set {
            guard case .object(var members) = self else { return }
            let index = members.firstIndex { $0.name.utf8.elementsEqual(name.utf8) }
            switch (index, newValue) {
            case (let index?, let value?): members[index] = JSONMember(name: name, value: value)
            case (let index?, nil): members.remove(at: index)
            case (nil, let value?): members.append(JSONMember(name: name, value: value))
            case (nil, nil): return
            }
            self = .object(members)
        }
    }
}

/// A number as it is spelled, exact until it is converted.
package struct JSONNumber: Equatable, Sendable {
    /// A number of RFC 8259; or, from JSON5 only, `inf`, `-inf` or `nan`.
    private let spelling: ArraySlice<UInt8>

    init(spelling: ArraySlice<UInt8>) {
        self.spelling = spelling
    }

    package init(_ value: some FixedWidthInteger) {
        spelling = Array(value.description.utf8)[...]
    }

    /// The shortest decimal that reads back as `value`; `nil` for infinities and NaN.
    package init?(_ value: Double) {
        guard value.isFinite else { return nil }
        let isInteger = value.rounded() == value && abs(value) < 0x1p54
        spelling = Array((isInteger ? Int64(value).description : value.description).utf8)[...]
    }

    /// The number as RFC 8259 has it, as a reader of the text spelled it; `nil` for an infinity or NaN from JSON5.
    var text: String? {
        (spelling.last.map(isDigit) ?? false) ? String(decoding: spelling, as: UTF8.self) : nil
    }

    /// The nearest double; `nil` if the number is larger than any finite one.
    package var double: Double? {
        guard let value = Double(String(decoding: spelling, as: UTF8.self)) else { return nil }
        let isSpelledAsNumber = spelling.last.map(isDigit) ?? false
        return value.isFinite || !isSpelledAsNumber ? value : nil
    }

    /// The number itself, if it is an integer, not negative, and fits.
    package var integer: UInt64? {
        let (value, isExact) = scaled(byPowerOfTen: 0)
        return isExact ? value : nil
    }

    /// A number of seconds in nanoseconds, rounded down; `nil` if it is negative or does not fit.
    package var nanoseconds: UInt64? { scaled(byPowerOfTen: 9).value }

    /// The number times ten to the power `places`, rounded down, and whether that is exact.
    private func scaled(byPowerOfTen places: Int) -> (value: UInt64?, isExact: Bool) {
        let isNegative = spelling.first == UInt8(ascii: "-")
        let number = isNegative ? spelling.dropFirst() : spelling
        guard number.first.map(isDigit) ?? false else { return (nil, false) }
        let mantissa = number.prefix { isDigit($0) || $0 == UInt8(ascii: ".") }
        let point = mantissa.firstIndex(of: UInt8(ascii: ".")) ?? mantissa.endIndex
        let fractionDigits = max(0, mantissa.endIndex - point - 1)
        let exponent = Self.exponent(number[mantissa.endIndex...].dropFirst())
        var digits = mantissa.lazy.filter(isDigit).drop { $0 == UInt8(ascii: "0") }.makeIterator()
        let digitCount = mantissa.lazy.filter(isDigit).drop { $0 == UInt8(ascii: "0") }
            .reduce(0) { count, _ in count + 1 }
        guard digitCount > 0 else { return (0, true) }
        guard !isNegative else { return (nil, false) }
        let integerDigits = digitCount - fractionDigits + exponent + places
        guard integerDigits <= 20 else { return (nil, false) }  // UInt64.max has 20.
        var value: UInt64 = 0
        for _ in 0..<max(0, integerDigits) {
            let digit = digits.next().map { $0 - UInt8(ascii: "0") } ?? 0
            let (tens, isTooLarge) = value.multipliedReportingOverflow(by: 10)
            let (sum, overflow) = tens.addingReportingOverflow(UInt64(digit))
            guard !isTooLarge, !overflow else { return (nil, false) }
            value = sum
        }
        // Digits before a very negative exponent are all part of the remainder.
        while let digit = digits.next() {
            if digit != UInt8(ascii: "0") { return (value, false) }
        }
        return (value, true)
    }

    /// The exponent, between -1,000,000 and 1,000,000: beyond that every number here has the same integer part.
    private static func exponent(_ text: ArraySlice<UInt8>) -> Int {
        var value = 0
        for digit in text where isDigit(digit) {
            value = min(value * 10 + Int(digit - UInt8(ascii: "0")), 1_000_000)
        }
        return text.first == UInt8(ascii: "-") ? -value : value
    }
}

func isDigit(_ byte: UInt8) -> Bool {
    byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9")
}

/// Why a text is not JSON, and where.
package struct JSONError: Error, Equatable, CustomStringConvertible {
    package enum Place: Equatable, Sendable {
        /// Counted from 1.
        case byte(Int)
        /// Both counted from 1, the column in Unicode scalars.
        case line(Int, column: Int)
    }

    package let place: Place
    package let reason: String

    package var description: String {
        switch place {
        case .byte(let position): "\(reason) at byte \(position)"
        case .line(let line, let column): "line \(line), column \(column): \(reason)"
        }
    }
}
