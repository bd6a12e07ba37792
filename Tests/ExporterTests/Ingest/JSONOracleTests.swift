import Foundation
import Testing

@testable import Exporter

@Suite("JSON, beside Python's reader")
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

    @Test("both read the same, or neither, of 20,000 texts that are almost JSON")
    func sameVerdict() throws {
        var random = SeededGenerator(state: 8259)
        let texts = (0..<20_000).map { _ in AlmostJSON.text(&random) }
        let hex = texts.map { $0.map { String(format: "%02x", $0) }.joined() }
        let folder = FileManager.default.temporaryDirectory
        let file = folder.appendingPathComponent(UUID().uuidString)
        try hex.joined(separator: "\n").write(to: file, atomically: true, encoding: .utf8)
        defer { try? FileManager.default.removeItem(at: file) }
        let output = try run("python3", ["-c", Self.script, file.path], input: []).output
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

/// Makes texts of which about half are JSON.
enum AlmostJSON {
    static func text(_ random: inout SeededGenerator) -> [UInt8] {
        var bytes = Array(value(&random, depth: Int.random(in: 0...3, using: &random)).utf8)
        guard Bool.random(using: &random) else { return bytes }
        for _ in 0..<Int.random(in: 1...2, using: &random) { damage(&bytes, &random) }
        return bytes.filter { $0 != UInt8(ascii: "\n") || Bool.random(using: &random) }
    }

    static func damage(_ bytes: inout [UInt8], _ random: inout SeededGenerator) {
        let telling =
            Array("{}[]\",:\\/u0123456789dDcC8eE+-. \t\r\nabfnrtsl\0\u{7F}".utf8) + [
                0x80, 0xC3, 0xA4, 0xED, 0xFF,
            ]
        let byte = telling[Int.random(in: telling.indices, using: &random)]
        guard !bytes.isEmpty else { return bytes.append(byte) }
        let place = Int.random(in: bytes.indices, using: &random)
        switch Int.random(in: 0..<4, using: &random) {
        case 0: bytes[place] = byte
        case 1: bytes.remove(at: place)
        case 2: bytes.insert(byte, at: place)
        default: bytes.removeSubrange(place...)
        }
    }

    static func value(_ random: inout SeededGenerator, depth: Int) -> String {
        let space = ["", "", " ", "\t", "\r", "  "].randomElement(using: &random) ?? ""
        switch Int.random(in: 0..<(depth > 0 ? 8 : 5), using: &random) {
        case 0: return space + (["true", "false", "null"].randomElement(using: &random) ?? "")
        case 1, 2: return space + number(&random)
        case 3, 4: return space + string(&random)
        case 5, 6:
            let items = (0..<Int.random(in: 0...3, using: &random)).map { _ in
                value(&random, depth: depth - 1)
            }
            return "[" + items.joined(separator: "\(space),") + space + "]"
        default:
            let members = (0..<Int.random(in: 0...3, using: &random)).map { _ in
                string(&random) + space + ":" + value(&random, depth: depth - 1)
            }
            return "{" + members.joined(separator: ",\(space)") + space + "}"
        }
    }

    private static func number(_ random: inout SeededGenerator) -> String {
        let whole = ["0", "7", "10", "900719925474099312", "123456789012345678901"]
        let fraction = ["", "", ".0", ".25", ".1000000000000000055511151231257827"]
        let exponent = ["", "", "e5", "E+300", "e-310", "e-400", "e999"]
        return (Bool.random(using: &random) ? "-" : "")
            + (whole.randomElement(using: &random) ?? "")
            + (fraction.randomElement(using: &random) ?? "")
            + (exponent.randomElement(using: &random) ?? "")
    }

    private static func string(_ random: inout SeededGenerator) -> String {
        let parts = [
            "a", "b", "type", "é", "e\u{301}", "€", "\u{1D11E}", "\\n", "\\u0061", "\\uD834\\uDD1E",
            "\\\"", "\\\\", "\\/", "\u{2028}", "\u{7F}", "", " ",
        ]
        let count = Int.random(in: 0...3, using: &random)
        return "\"" + (0..<count).map { _ in parts.randomElement(using: &random) ?? "" }.joined()
            + "\""
    }
}
