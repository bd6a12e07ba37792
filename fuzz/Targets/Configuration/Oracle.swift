import Foundation
import FuzzSupport
import JSON

/// Compares with Foundation's reader, as far as it follows the specification: on one line of ASCII, without escapes, and
/// without an exponent behind a zero, or one that is too large.
func agreesWithFoundation(_ document: JSONValue, _ text: String) {
    let isPlain = text.utf8.allSatisfy { (0x20...0x7E).contains($0) && $0 != UInt8(ascii: "\\") }
    // A document that is one long number makes Foundation trap.
    guard isPlain, !text.lowercased().contains("0e"), !document.isNumber else { return }
    let decoder = JSONDecoder()
    decoder.allowsJSON5 = true
    let spelling = document.spelling
    let theirs = try? decoder.decode(FoundationValue.self, from: Data(text.utf8))
    guard theirs != nil || !spelling.contains("Infinity") else { return }
    require(
        theirs?.spelling == spelling,
        "Foundation has \(theirs?.spelling, default: "nothing") in \(text)"
    )
}

extension JSONValue {
    fileprivate var isNumber: Bool {
        if case .number = self { true } else { false }
    }
}

/// The spelling of what Foundation reads.
private struct FoundationValue: Decodable {
    let spelling: String

    init(from decoder: any Decoder) throws {
        let value = try decoder.singleValueContainer()
        if value.decodeNil() {
            spelling = "null"
        } else if let isTrue = try? value.decode(Bool.self) {
            spelling = "\(isTrue)"
        } else if let number = try? value.decode(Double.self) {
            spelling = number.spelling
        } else if let text = try? value.decode(String.self) {
            spelling = text.spelling
        } else if let items = try? value.decode([FoundationValue].self) {
            spelling = arraySpelling(items.map(\.spelling))
        } else {
            let members = try value.decode([String: FoundationValue].self)
            spelling = objectSpelling(members.map { ($0, $1.spelling) })
        }
    }
}
