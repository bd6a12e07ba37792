import Posix

/// HTML whose text and attributes are escaped by construction: names are literals, everything else is data.
struct HTML: ExpressibleByStringInterpolation, Sendable {
    /// The markup.
    let source: String

    private init(source: String) {
        self.source = source
    }

    /// Text, escaped; a control character becomes U+FFFD, since HTML allows none.
    init(_ text: String) {
        source = Self.escaped(text)
    }

    init(stringLiteral text: String) {
        self.init(text)
    }

    static let nothing = HTML("")

    static func element(
        _ name: StaticString,
        _ attributes: Attributes = [:],
        _ children: HTML...
    ) -> HTML {
        element(name, attributes, children)
    }

    static func element(
        _ name: StaticString,
        _ attributes: Attributes = [:],
        _ children: [HTML]
    ) -> HTML {
        let content = children.map(\.source).joined()
        return HTML(source: "<\(name)\(attributes.source)>\(content)</\(name)>")
    }

    /// An element that has no content and no end tag, such as `meta`.
    static func void(_ name: StaticString, _ attributes: Attributes = [:]) -> HTML {
        HTML(source: "<\(name)\(attributes.source)>")
    }

    /// A style sheet or a script of our own, as it stands.
    static func inline(_ name: StaticString, nonce: String, _ content: StaticString) -> HTML {
        let attributes: Attributes = ["nonce": nonce]
        return HTML(source: "<\(name)\(attributes.source)>\(content)</\(name)>")
    }

    static func sequence(_ parts: [HTML]) -> HTML {
        HTML(source: parts.map(\.source).joined())
    }

    /// A whole document.
    static func document(_ head: HTML, _ body: HTML) -> [UInt8] {
        let lang: Attributes = ["lang": "en"]
        return Array(
            "<!DOCTYPE html>\n<html\(lang.source)>\(head.source)\(body.source)</html>\n".utf8
        )
    }

    /// Attributes in their order; one whose value is `nil` is left out.
    struct Attributes: ExpressibleByDictionaryLiteral {
        fileprivate let source: String

        init(dictionaryLiteral pairs: (StaticString, String?)...) {
            source = pairs.compactMap { name, value in
                value.map { " \(name)=\"\(HTML.escaped($0))\"" }
            }.joined()
        }
    }

    fileprivate static func escaped(_ text: String) -> String {
        guard text.utf8.contains(where: { Self.needsCare($0) }) else { return text }
        var escaped = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": escaped += "&amp;"
            case "<": escaped += "&lt;"
            case ">": escaped += "&gt;"
            case "\"": escaped += "&quot;"
            case "'": escaped += "&#39;"
            // Some turn the reading direction of what follows, also outside of its element.
            case _ where scalar.isInvisibleCommand: escaped += "\u{FFFD}"
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }

    private static func needsCare(_ byte: UInt8) -> Bool {
        byte < 0x20 || byte >= 0x7F || "&<>\"'".utf8.contains(byte)
    }
}
