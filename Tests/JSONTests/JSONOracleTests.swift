import Foundation
import TestSupport
import Testing

@testable import JSON

@Suite("JSON, compared with Python")
struct JSONOracleTests {
    /// What Python takes and we refuse on purpose: names that are there twice, half pairs, NaN, deep nesting.
    private static let script = #"""
        import json, sys
        class Number(str): pass
        def number(digits):
            value = float(digits)
            return Number("#" + ("inf" if abs(value) == float("inf") else value.hex()))
        def no(constant): raise ValueError
        def once(items):
            if len({name for name, _ in items}) != len(items) or len(items) > 64: raise ValueError
            return dict(items)
        def quote(text):
            return '"' + text.encode("utf-8").hex() + '"'
        def render(value, room=16):
            if isinstance(value, Number): return str(value)
            if isinstance(value, str): return quote(value)
            if value is None or isinstance(value, bool): return json.dumps(value)
            if room == 0: raise ValueError
            if isinstance(value, list):
                return "[" + ",".join(render(item, room - 1) for item in value) + "]"
            pairs = (quote(name) + ":" + render(item, room - 1) for name, item in value.items())
            return "{" + ",".join(pairs) + "}"
        for line in open(sys.argv[1]).read().split("\n"):
            try:
                text = bytes.fromhex(line).decode("utf-8")
                print(render(json.loads(text, parse_float=number, parse_int=number,
                                        parse_constant=no, object_pairs_hook=once)))
            except (ValueError, RecursionError):
                print("refused")
        """#

    @Test("both accept the same of 20,000 texts that are almost JSON, with the same value")
    func sameVerdict() throws {
        var random = SeededGenerator(state: 8259)
        let texts = (0..<20_000).map { _ in AlmostJSON.text(&random) }
        let hex = texts.map { $0.map { String(format: "%02x", $0) }.joined() }
        let folder = FileManager.default.temporaryDirectory
        let file = folder.appendingPathComponent(UUID().uuidString)
        try hex.joined(separator: "\n").write(to: file, atomically: true, encoding: .utf8)
        defer { try? FileManager.default.removeItem(at: file) }
        let output = try programOutput(["python3", "-c", Self.script, file.path])
        let expected = output.split(separator: "\n", omittingEmptySubsequences: false).dropLast()
        try #require(expected.count == texts.count, "\(output.suffix(500))")
        var taken = 0
        for (text, expected) in zip(texts, expected) {
            let read = (try? readJSON(text)).map(Self.render) ?? "refused"
            taken += read == "refused" ? 0 : 1
            #expect(read == expected, "\(String(decoding: text, as: UTF8.self))")
        }
        #expect((5_000...18_000).contains(taken), "\(taken) of both kinds are needed")
    }

    @Test("Python reads the same value from the written text as from the original")
    func written() throws {
        let script = """
            import json, sys
            for line in open(sys.argv[1]).read().splitlines():
                original, *written = [json.loads(bytes.fromhex(text), parse_float=str, parse_int=str)
                                      for text in line.split()]
                assert all(repr(text) == repr(original) for text in written), line
                print("same")
            """
        var random = SeededGenerator(state: 4627)
        var lines: [String] = []
        for _ in 0..<5_000 {
            let text = AlmostJSON.text(&random)
            guard let value = try? readJSON(text) else { continue }
            let written = [.compact, .line, .indented].map { JSONWriter.write(value, $0) }
            lines.append(
                ([text] + written).map { $0.map { String(format: "%02x", $0) }.joined() }
                    .joined(separator: " ")
            )
        }
        #expect(lines.count > 1_000, "\(lines.count) documents are too few")
        let folder = FileManager.default.temporaryDirectory
        let file = folder.appendingPathComponent(UUID().uuidString)
        try lines.joined(separator: "\n").write(to: file, atomically: true, encoding: .utf8)
        defer { try? FileManager.default.removeItem(at: file) }
        let output = try programOutput(["python3", "-c", script, file.path])
        #expect(output.split(separator: "\n").count == lines.count)
    }

    private static func render(_ value: JSONValue) -> String {
        switch value {
        case .null: return "null"
        case .boolean(let value): return "\(value)"
        case .number(let number): return "#" + (number.double.map(hexadecimal) ?? "inf")
        case .string(let text): return quote(text)
        case .array(let items): return "[" + items.map(render).joined(separator: ",") + "]"
        case .object(let members):
            let pairs = members.map { quote($0.name) + ":" + render($0.value) }
            return "{" + pairs.joined(separator: ",") + "}"
        }
    }

    private static func quote(_ text: String) -> String {
        "\"" + text.utf8.map { String(format: "%02x", $0) }.joined() + "\""
    }

    /// As Python's `float.hex` writes it.
    private static func hexadecimal(_ value: Double) -> String {
        if value == 0 { return value.sign == .minus ? "-0x0.0p+0" : "0x0.0p+0" }
        let sign = value < 0 ? "-" : ""
        let fraction = value.significandBitPattern
        let digits = String(fraction, radix: 16)
        let padded = String(repeating: "0", count: 13 - digits.count) + digits
        let lead = value.isSubnormal ? "0" : "1"
        let power = value.isSubnormal ? -1022 : Int(value.exponent)
        return "\(sign)0x\(lead).\(padded)p\(power < 0 ? "" : "+")\(power)"
    }
}
