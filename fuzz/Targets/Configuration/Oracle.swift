import Foundation
import FuzzSupport

@testable import Recorder

/// Compares with Foundation's reader, as far as it follows the specification: on one line of ASCII, without escapes, and
/// without an exponent behind a zero, or one that is too large.
func agreesWithFoundation(_ document: JSON5Value, _ text: String) {
    let isPlain = text.utf8.allSatisfy { (0x20...0x7E).contains($0) && $0 != UInt8(ascii: "\\") }
    // A document that is one long number makes Foundation trap.
    guard isPlain, !text.lowercased().contains("0e"), !document.isNumber else { return }
    let decoder = JSONDecoder()
    decoder.allowsJSON5 = true
    let spelling = document.spelling
    let theirs = try? decoder.decode(FoundationValue.self, from: Data(text.utf8))
    guard theirs != nil || !spelling.contains("Infinity") else { return }
    require(
        theirs?.value.spelling == spelling,
        "Foundation has \(theirs?.value, default: "nothing") in \(text)"
    )
}

extension JSON5Value {
    fileprivate var isNumber: Bool {
        if case .number = self { true } else { false }
    }
}

/// What Foundation reads.
private struct FoundationValue: Decodable {
    let value: JSON5Value

    init(from decoder: any Decoder) throws {
        let value = try decoder.singleValueContainer()
        if value.decodeNil() {
            self.value = .null
        } else if let isTrue = try? value.decode(Bool.self) {
            self.value = .boolean(isTrue)
        } else if let number = try? value.decode(Double.self) {
            self.value = .number(number)
        } else if let text = try? value.decode(String.self) {
            self.value = .text(text)
        } else if let items = try? value.decode([FoundationValue].self) {
            self.value = .array(items.map(\.value))
        } else {
            self.value = .object(
                try value.decode([String: FoundationValue].self).mapValues(\.value)
            )
        }
    }
}
