/// Makes texts of which about half are JSON.
package enum AlmostJSON {
    package static func text(_ random: inout SeededGenerator) -> [UInt8] {
        var bytes = Array(value(&random, depth: Int.random(in: 0...3, using: &random)).utf8)
        guard Bool.random(using: &random) else { return bytes }
        for _ in 0..<Int.random(in: 1...2, using: &random) { damage(&bytes, &random) }
        return bytes.filter { $0 != UInt8(ascii: "\n") || Bool.random(using: &random) }
    }

    package static func damage(_ bytes: inout [UInt8], _ random: inout SeededGenerator) {
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

    package static func value(_ random: inout SeededGenerator, depth: Int) -> String {
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
