import Foundation
import Testing

@testable import JSON

private func readJSON5(_ text: String) throws(JSONError) -> JSONValue {
    let bytes = Array(text.utf8)
    return try JSONReader.read(bytes, as: .json5)
}

@Suite("JSON5")
struct JSON5Tests {
    @Test("a document with everything that JSON lacks")
    func everything() throws {
        let text = """
            \u{FEFF}// A comment.
            {
                unquoted: 'single \\'quotes\\'', "double": "a\\u00e9\\x41\\n\\ud83d\\ude00", $_1: null,
                /* another */ numbers: [1, -2.5, +.5, 5., 0x1F, 1e3, -Infinity, 0,],
                'continued': "one \\
            line", yes: true, no: false, ünï: {},
            }
            """
        let expected: [(String, JSONValue)] = [
            ("unquoted", .string("single 'quotes'")), ("double", .string("aéA\n😀")), ("$_1", .null),
            ("numbers", .null), ("continued", .string("one line")), ("yes", .boolean(true)),
            ("no", .boolean(false)), ("ünï", .object([])),
        ]
        guard case .object(let members) = try readJSON5(text) else {
            Issue.record("no object")
            return
        }
        #expect(members.map(\.name) == expected.map(\.0))
        for (member, expected) in zip(members, expected) where member.name != "numbers" {
            #expect(member.value == expected.1, "\(member.name)")
        }
        guard case .array(let items) = members[3].value else {
            Issue.record("no array")
            return
        }
        let numbers = items.map { (item) -> Double? in
            guard case .number(let number) = item else { return nil }
            return number.double
        }
        #expect(numbers == [1, -2.5, 0.5, 5, 31, 1000, -.infinity, 0])
    }

    @Test(
        "white space of Unicode and escapes that stand for themselves are read as specified"
    )
    func beyondFoundation() throws {
        #expect(try readJSON5("\u{00A0}'\\z'\u{2028}") == .string("z"))
    }

    @Test(
        "an error names its line and column",
        arguments: [
            ("", 1, 1, "expected a value"),
            ("{a: 1,\n b 2}", 2, 4, "expected ':' after the name"),
            ("{a: 1\n b: 2}", 2, 2, "expected ',' or '}'"),
            ("[1 2]", 1, 4, "expected ',' or ']'"),
            ("[1", 1, 3, "expected ',' or ']'"),
            ("{a: 1} x", 1, 8, "expected the end of the text"),
            ("{a: 1, a: 2}", 1, 8, "duplicate name"),
            ("{a: tru}", 1, 5, "expected a value"),
            ("{a: 'x\n'}", 1, 5, "the string is not closed"),
            ("{a: /* x }", 1, 5, "the comment is not closed"),
            ("{a: 01}", 1, 5, "a number must not begin with a zero"),
            ("{a: 1.2.3}", 1, 5, "invalid number"),
            ("{a: -}", 1, 5, "invalid number"),
            ("{a: -+1}", 1, 5, "invalid number"),
            ("{a: '\\ud83d'}", 1, 6, "unpaired surrogate"),
            ("{a: '\\1'}", 1, 6, "invalid escape"),
            ("{a: '\\xg0'}", 1, 6, "invalid escape"),
            ("{,}", 1, 2, "expected a name or '}'"),
            (String(repeating: "[", count: 65), 1, 65, "nested deeper than 64"),
        ] as [(String, Int, Int, String)]
    )
    func mistake(in text: String, line: Int, column: Int, reason: String) {
        let expected = JSONError(place: .line(line, column: column), reason: reason)
        #expect(throws: expected) { try readJSON5(text) }
    }

    @Test(
        "the same texts are accepted and refused as by Foundation",
        arguments: [
            "[1, 2,]", "[,]", "{a: 1,}", "{,}", "[1,,2]", "'a'", "\"a", "0x", "0xg", "+1", "+-1",
            "-+1", "++1",
            "1.", ".",
            "1e", "1e+5", "Infinity", "Inf", "[NaN]", "{1: 2}", "{'1': 2}", "{a-b: 1}", "nul",
            "null//",
            "/", "/**/1", "[1]]", "{\"a\" 1}", "{a: }", "1 2", "{a:{b:[{}]}}",
        ]
    )
    func agreesWithFoundation(_ text: String) {
        let decoder = JSONDecoder()
        decoder.allowsJSON5 = true
        let isRead = (try? decoder.decode(Anything.self, from: Data(text.utf8))) != nil
        #expect(((try? readJSON5(text)) != nil) == isRead)
    }

    @Test("no prefix of a document traps")
    func prefixes() throws {
        let text = "{a: ['\\u0041\\x41\\\n', /* c */ -0x1F, 1e5], // d\n 'b': {\"c\": null}}"
        _ = try readJSON5(text)
        for length in 0..<text.count { _ = try? readJSON5(String(text.prefix(length))) }
    }
}

/// Any JSON value, for Foundation's decoder.
private struct Anything: Decodable {
    init(from decoder: any Decoder) throws {
        let value = try decoder.singleValueContainer()
        if value.decodeNil() || (try? value.decode(Bool.self)) != nil { return }
        if (try? value.decode(Double.self)) != nil { return }
        if (try? value.decode(String.self)) != nil { return }
        if (try? value.decode([Anything].self)) != nil { return }
        _ = try value.decode([String: Anything].self)
    }
}
