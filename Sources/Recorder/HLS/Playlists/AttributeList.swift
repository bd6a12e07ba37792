/// An attribute list (RFC 8216, section 4.2): `NAME=value,NAME="quoted, value"`.
struct AttributeList: Equatable, Sendable {
    private let values: [String: String]

    /// Values without their quotes; `nil` when the text is not an attribute list or repeats a name.
    init?(_ text: Substring) {
        var values: [String: String] = [:]
        var rest = text.utf8
        while !rest.isEmpty {
            guard let equals = rest.firstIndex(of: UInt8(ascii: "=")),
                let name = Self.name(rest[..<equals]),
                let (value, after) = Self.value(rest[equals...].dropFirst()),
                values.updateValue(value, forKey: name) == nil
            else { return nil }
            rest = after
        }
        self.values = values
    }

    subscript(name: String) -> String? { values[name] }

    private static func name(_ bytes: Substring.UTF8View) -> String? {
        let name = bytes.drop { $0 == UInt8(ascii: " ") }
        let isValid = name.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                UInt8(ascii: "-"):
                true
            default: false
            }
        }
        return isValid && !name.isEmpty ? String(Substring(name)) : nil
    }

    /// The value at the start of `bytes`, and what follows its comma.
    private static func value(_ bytes: Substring.UTF8View) -> (String, Substring.UTF8View)? {
        let value: Substring.UTF8View
        let after: Substring.UTF8View
        if bytes.first == UInt8(ascii: "\"") {
            let quoted = bytes.dropFirst()
            guard let end = quoted.firstIndex(of: UInt8(ascii: "\"")) else { return nil }
            (value, after) = (quoted[..<end], quoted[end...].dropFirst())
        } else {
            let end = bytes.firstIndex(of: UInt8(ascii: ",")) ?? bytes.endIndex
            (value, after) = (bytes[..<end], bytes[end...])
        }
        guard after.first ?? UInt8(ascii: ",") == UInt8(ascii: ",") else { return nil }
        return (String(Substring(value)), after.dropFirst())
    }
}
