import Foundation
import Testing

@testable import Recorder

@Suite("JSON5")
struct ConfigurationJSON5Tests {
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
        let expected: [String: JSON5Value] = [
            "unquoted": .text("single 'quotes'"), "double": .text("aéA\n😀"), "$_1": .null,
            "numbers": .array(
                [1, -2.5, 0.5, 5, 31, 1000, -.infinity, 0].map { .number($0) }
            ),
            "continued": .text("one line"), "yes": .boolean(true), "no": .boolean(false),
            "ünï": .object([:]),
        ]
        guard case .object(let fields) = try JSON5Parser.parse(text) else {
            Issue.record("no object")
            return
        }
        #expect(fields.keys.sorted() == expected.keys.sorted())
        for (name, value) in fields { #expect(value == expected[name], "\(name)") }
    }

    @Test(
        "white space of Unicode, and escapes that stand for themselves, as the specification has them"
    )
    func beyondFoundation() throws {
        #expect(try JSON5Parser.parse("\u{00A0}'\\z'\u{2028}") == .text("z"))
    }

    @Test(
        "a mistake is named with its place",
        arguments: [
            ("", 1, 1, "expected a value"),
            ("{a: 1,\n b 2}", 2, 4, "expected ':' after \"b\""),
            ("{a: 1\n b: 2}", 2, 2, "expected ',' or '}'"),
            ("[1 2]", 1, 4, "expected ',' or ']'"),
            ("[1", 1, 3, "expected ',' or ']'"),
            ("{a: 1} x", 1, 8, "expected the end of the file"),
            ("{a: 1, a: 2}", 1, 8, "\"a\" is given twice"),
            ("{a: tru}", 1, 5, "expected a value"),
            ("{a: 'x\n'}", 1, 5, "the string is not closed"),
            ("{a: /* x }", 1, 5, "the comment is not closed"),
            ("{a: 01}", 1, 5, "not a number"),
            ("{a: 1.2.3}", 1, 5, "not a number"),
            ("{a: -}", 1, 5, "not a number"),
            ("{a: -+1}", 1, 5, "not a number"),
            ("{a: '\\ud83d'}", 1, 6, "half a pair"),
            ("{a: '\\1'}", 1, 6, "unknown escape"),
            ("{a: '\\xg0'}", 1, 8, "expected a hex digit"),
            ("{,}", 1, 2, "expected a field's name or '}'"),
            (String(repeating: "[", count: 65), 1, 65, "nested deeper than 64"),
        ] as [(String, Int, Int, String)]
    )
    func mistake(in text: String, line: Int, column: Int, problem: String) {
        #expect(throws: JSON5Error(line: line, column: column, problem: problem)) {
            try JSON5Parser.parse(text)
        }
    }

    @Test("a mistake is one line, whatever the field's name holds")
    func oneLine() {
        let error = #expect(throws: JSON5Error.self) { try JSON5Parser.parse("{'a\\n\\u009b' 1}") }
        #expect(error?.description == "line 1, column 14: expected ':' after \"a\\u{A}\\u{9B}\"")
    }

    @Test(
        "what is read and what is refused is as with Foundation",
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
        #expect(((try? JSON5Parser.parse(text)) != nil) == isRead)
    }

    @Test("no prefix of a document traps")
    func prefixes() throws {
        let text = "{a: ['\\u0041\\x41\\\n', /* c */ -0x1F, 1e5], // d\n 'b': {\"c\": null}}"
        _ = try JSON5Parser.parse(text)
        for length in 0..<text.count { _ = try? JSON5Parser.parse(String(text.prefix(length))) }
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
