import Foundation
import Testing

@testable import JSON

/// Reads a complete text.
func readJSON(_ text: String) throws(JSONError) -> JSONValue { try readJSON(Array(text.utf8)) }

func readJSON(_ bytes: [UInt8]) throws(JSONError) -> JSONValue {
    try JSONReader.read(bytes)
}

@Suite("JSON of RFC 8259")
struct JSONReaderTests {
    @Test("the RFC's own examples")
    func examples() throws {
        let image = """
            {
              "Image": {
                  "Width":  800,
                  "Height": 600,
                  "Title":  "View from 15th Floor",
                  "Thumbnail": {
                      "Url":    "http://www.example.com/image/481989943",
                      "Height": 125,
                      "Width":  100
                  },
                  "Animated" : false,
                  "IDs": [116, 943, 234, 38793]
                }
            }
            """
        guard case .object(let members) = try readJSON(image),
            case .object(let fields) = members[0].value
        else { throw JSONError(place: .byte(0), reason: "no object") }
        #expect(
            fields.map(\.name) == ["Width", "Height", "Title", "Thumbnail", "Animated", "IDs"]
        )
        #expect(fields[2].value == .string("View from 15th Floor"))
        #expect(fields[4].value == .boolean(false))
        #expect(try readJSON("\"Hello world!\"") == .string("Hello world!"))
        #expect(try readJSON("null") == .null)
        guard case .number(let number) = try readJSON("42") else { return }
        #expect(number.integer == 42)
        // RFC 8259, section 7: the G clef by a surrogate pair.
        #expect(try readJSON(#""\uD834\uDD1E""#) == .string("\u{1D11E}"))
    }

    static let strings: [(String, String)] = [
        (#""""#, ""), (#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{C}\n\r\t"),
        (#""\u0041\u00e4\u20AC""#, "Aä€"), (#""\u0000""#, "\0"), (#""\u0012""#, "\u{12}"),
        (#""\uD801\udc37""#, "\u{10437}"), (#""\uDBFF\uDFFF""#, "\u{10FFFF}"),
        (#""\\u0000""#, "\\u0000"),
        (#""a/*b*/c""#, "a/*b*/c"), (#"" ""#, " "), ("\"\u{7F}\u{2028}⍂㈴⍂\"", "\u{7F}\u{2028}⍂㈴⍂"),
        ("\"\u{FEFF}\"", "\u{FEFF}"),
    ]

    @Test("strings are unescaped", arguments: strings)
    func string(_ text: String, _ value: String) throws {
        guard case .string(let read) = try readJSON(text) else {
            Issue.record("no string")
            return
        }
        #expect(Array(read.utf8) == Array(value.utf8))
    }

    static let accepted = [
        "[]", " [] ", "[ ]", "\t\r\n[1\n]\t", "{}", "{\"\":0}", "{\"a\":[]}", "[[]   ]", "[\"\"]",
        "true", "false", "null", "[null, 1, \"1\", {}]", "[1,null,null,null,2]", "\"asd\"",
        "{\"a\":{\"b\":null},\"c\":[true]}", "[-0]", "[0e1]", "[0e+1]", "[20e1]", "[1E22]",
        "[1E-2]", "[1E+2]", "[123e45]", "[123.456e-789]", "[-123]", "[0.0]", "[-1.0e-0]",
        "[1e999999999999999999999]", "[0.00000000000000000000000000000000000000000000000000000001]",
        "{\"é\":1, \"e\u{301}\":2}",
    ]

    @Test("is taken", arguments: accepted)
    func accepts(_ text: String) throws {
        _ = try readJSON(text)
    }

    /// Most of them after ideas of JSONTestSuite (github.com/nst/JSONTestSuite); and where each goes wrong.
    static let refused: [(String, Int)] = [
        ("", 1), (" ", 2), ("[", 2), ("]", 1), ("[1 true]", 4), ("[a]", 2), ("[\"\": 1]", 4),
        ("[\"\"],", 5), ("[,1]", 2), ("[1,,2]", 4), ("[1,]", 4), ("[\"x\"]]", 6), ("[\"\",]", 5),
        ("[\"x\"", 5), ("[x", 2), ("[3[4]]", 3), ("[1,\n1\n,1", 9), ("[*]", 2), ("[\u{B}]", 2),
        ("[fals]", 2), ("[nul]", 2), ("[tru]", 2), ("True", 1), ("[NaN]", 2), ("[Infinity]", 2),
        ("[-Infinity]", 2), ("[++1]", 2), ("[+1]", 2), ("[-]", 2), ("[-01]", 2), ("[012]", 2),
        ("[00]", 2), ("[.5]", 2), ("[-.5]", 2), ("[1.]", 2), ("[1.e1]", 2), ("[0.e1]", 2),
        ("[1e]", 2), ("[1e+]", 2), ("[1e-]", 2), ("[0E]", 2), ("[1eE2]", 2), ("[1.2.3]", 5),
        ("[0x1]", 3), ("[1_000]", 3), ("[1 000.0]", 4), ("[2 ٣]", 4), ("[- 1]", 2), ("[１]", 2),
        ("[1+2]", 3), ("[1a]", 3), ("[1;]", 3), ("'a'", 1), ("[\"a", 2), ("\"", 1),
        ("[\"\\\"]", 2), ("[\"\\x00\"]", 3), ("[\"\\", 3), ("[\"\\u00A\"]", 3), ("[\"\\u\"]", 3),
        ("[\"\\a\"]", 3), ("[\"\\🌀\"]", 3), ("[\"\\{[\"\\{[", 3), ("[\"\\uD800\"]", 3),
        ("[\"\\uD800\\\"]", 3), ("[\"\\uD800\\u\"]", 3), ("[\"\\uD800\\u1\"]", 3),
        ("[\"\\uD800\\uD800\\n\"]", 3), ("[\"\\uDC00\"]", 3), ("[\"\\uD800\\n\"]", 3),
        ("[\"new\nline\"]", 6), ("[\"\t\"]", 3), ("[\"\0\"]", 3), ("{]", 2), ("{\"a\" b}", 6),
        ("{\"a\":", 6), ("{\"a\"", 5), ("{\"a\":1,}", 8), ("{\"a\":1,,\"b\":2}", 8), ("{a: 1}", 2),
        ("{'a':0}", 2), ("{1:1}", 2), ("{null:null}", 2), ("{\"a\":\"b\"}#", 10), ("{\"a\"::1}", 6),
        ("{\"a\":1 \"b\":2}", 8), ("{\"a\":true} \"x\"", 12), ("{\"a\":/*c*/1}", 6), ("<.>", 1),
        ("[1]//c", 4), ("{\"a\":1,\"a\":1}", 8), ("{\"a\":1,\"\\u0061\":2}", 8),
        ("\u{FEFF}{}", 1), ("\u{A0}[]", 1), ("[\u{2060}]", 2), ("1 2", 3), ("[1}", 3),
        ("{\"a\":1]", 7),
    ]

    @Test("is refused, at its place", arguments: refused)
    func refuses(_ text: String, at position: Int) {
        let error = #expect(throws: JSONError.self) { try readJSON(text) }
        #expect(error?.place == .byte(position), "\(String(describing: error))")
    }

    static let notUTF8: [[UInt8]] = [
        [0xFF], [0x80], [0xE5], [0xC0, 0xAF], [0xE0, 0x80, 0xAF], [0xED, 0xA0, 0x80],
        [0xF4, 0xBF, 0xBF, 0xBF], [0xF8, 0x88, 0x80, 0x80, 0x80], [0xE9], [0xC3, 0x28],
    ]

    @Test("bytes that are not UTF-8 are refused, in a string and outside", arguments: notUTF8)
    func encoding(_ bytes: [UInt8]) {
        #expect(throws: JSONError(place: .byte(2), reason: "the string is not UTF-8")) {
            try readJSON(Array("[\"a".utf8) + bytes + Array("\"]".utf8))
        }
        #expect(throws: JSONError(place: .byte(2), reason: "the string is not UTF-8")) {
            try readJSON(Array("[\"\\n".utf8) + bytes + Array("\"]".utf8))
        }
        #expect(throws: JSONError(place: .byte(2), reason: "expected a value")) {
            try readJSON(Array("[".utf8) + bytes + Array("]".utf8))
        }
    }

    @Test("nesting and members are bounded")
    func bounds() throws {
        func nested(_ depth: Int) -> String {
            String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
        }
        _ = try readJSON(nested(JSONReader.Dialect.strict.maxDepth))
        #expect(throws: JSONError(place: .byte(17), reason: "nested deeper than 16")) {
            try readJSON(nested(JSONReader.Dialect.strict.maxDepth + 1))
        }
        #expect(throws: JSONError.self) { try readJSON(String(repeating: "[", count: 100_000)) }
        #expect(throws: JSONError.self) {
            try readJSON(String(repeating: "{\"\":", count: 100_000))
        }
        func object(_ count: Int) -> String {
            "{" + (0..<count).map { "\"\($0)\":0" }.joined(separator: ",") + "}"
        }
        let maxMembers = JSONReader.Dialect.strict.maxMembers
        _ = try readJSON(object(maxMembers))
        #expect(throws: JSONError.self) { try readJSON(object(maxMembers + 1)) }
    }

    @Test("only the given range is read")
    func range() throws {
        let bytes = Array("xx{\"a\":1}}".utf8)
        _ = try JSONReader.read(bytes, in: 2..<9)
        #expect(throws: JSONError(place: .byte(8), reason: "expected the end of the text")) {
            try JSONReader.read(bytes, in: 2..<10)
        }
        #expect(throws: JSONError(place: .byte(7), reason: "expected ',' or '}'")) {
            try JSONReader.read(bytes, in: 2..<8)
        }
    }
}

@Suite("JSON numbers")
struct JSONNumberTests {
    private func number(_ text: String) throws -> JSONNumber {
        guard case .number(let number) = try readJSON(text) else {
            throw JSONError(place: .byte(0), reason: "no number")
        }
        return number
    }

    static let integers: [(String, UInt64?)] = [
        ("0", 0), ("-0", 0), ("-0.0e5", 0), ("1", 1), ("1.0", 1), ("1e3", 1000), ("1.5e1", 15),
        ("1500e-2", 15), ("18446744073709551615", .max), ("18446744073709551616", nil),
        ("18446744073709551615.000", .max), ("1e19", 10_000_000_000_000_000_000), ("1e20", nil),
        ("99999999999999999999", nil), ("1.5", nil), ("-1", nil), ("1e-1", nil), ("0.1", nil),
        ("0e999999999999", 0), ("1e999999999999", nil), ("1e-999999999999", nil),
        ("0.000000000000000000001e21", 1), ("9007199254740993", 9_007_199_254_740_993),
    ]

    @Test("integers are exact", arguments: integers)
    func integer(_ text: String, _ value: UInt64?) throws {
        #expect(try number(text).integer == value)
    }

    static let seconds: [(String, UInt64?)] = [
        ("0.1", 100_000_000), ("1", 1_000_000_000), ("0.123456789", 123_456_789),
        ("0.1234567899", 123_456_789), ("1e-9", 1), ("1e-10", 0), ("9e-10", 0),
        ("2.5e2", 250_000_000_000),
        ("18446744073.709551615", .max), ("18446744073.709551616", nil), ("-1e-12", nil),
        ("1e400", nil), ("0.30000000000000004", 300_000_000), ("-0", 0),
    ]

    @Test("seconds become integer nanoseconds, rounded down", arguments: seconds)
    func nanoseconds(_ text: String, _ value: UInt64?) throws {
        #expect(try number(text).nanoseconds == value)
    }

    static let doubles: [(String, Double?)] = [
        ("0.1", 0.1), ("-0", -0.0), ("1e308", 1e308), ("1e309", nil), ("-1e309", nil),
        ("4.9e-324", .leastNonzeroMagnitude), ("1e-400", 0),
        ("123456789012345678901234567890", 1.2345678901234568e29),
        ("2.2250738585072014e-308", .leastNormalMagnitude),
    ]

    @Test("doubles are the nearest, and finite", arguments: doubles)
    func double(_ text: String, _ value: Double?) throws {
        #expect(try number(text).double?.bitPattern == value?.bitPattern)
    }
}
