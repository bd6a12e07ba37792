import Posix

/// HTML in which all text and all attributes are escaped; only the names of elements and attributes are literals.
struct HTML: ExpressibleByStringInterpolation, Sendable {
    let source: String

    private init(source: String) {
        self.source = source
    }

    /// Escaped text; control characters, which HTML does not allow, become U+FFFD.
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

    /// An element without content and end tag, such as `meta`.
    static func void(_ name: StaticString, _ attributes: Attributes = [:]) -> HTML {
        HTML(source: "<\(name)\(attributes.source)>")
    }

    /// The style sheet or the script of the page, unchanged.
    static func inline(_ name: StaticString, nonce: String, _ content: StaticString) -> HTML {
        let attributes: Attributes = ["nonce": nonce]
        return HTML(source: "<\(name)\(attributes.source)>\(content)</\(name)>")
    }

    static func sequence(_ parts: [HTML]) -> HTML {
        HTML(source: parts.map(\.source).joined())
    }

    /// A complete document.
    static func document(_ head: HTML, _ body: HTML) -> [UInt8] {
        let lang: Attributes = ["lang": "en"]
        return Array(
            "<!DOCTYPE html>\n<html\(lang.source)>\(head.source)\(body.source)</html>\n".utf8
        )
    }

    /// Attributes in their order, without those whose value is `nil`.
    struct Attributes: ExpressibleByDictionaryLiteral {
        fileprivate let source: String

        init(dictionaryLiteral pairs: (StaticString, String?)...) {
            source = pairs.compactMap { name, value in
                value.map { " \(name)=\"\(HTML.escaped($0))\"" }
            }.joined()
        }
    }

    fileprivate static func escaped(_ text: String) -> String {
        guard text.utf8.contains(where: { Self.mayNeedEscape($0) }) else { return text }
        var escaped = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": escaped += "&amp;"
            case "<": escaped += "&lt;"
            case ">": escaped += "&gt;"
            case "\"": escaped += "&quot;"
            case "'": escaped += "&#39;"
            // Some change the direction of the following text, even outside of the element.
            case _ where scalar.isControl: escaped += "\u{FFFD}"
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return escaped
    }

    private static func mayNeedEscape(_ byte: UInt8) -> Bool {
        byte < 0x20 || byte >= 0x7F || "&<>\"'".utf8.contains(byte)
    }
}

/// Durations, sizes and times with few digits and a unit, which no line break separates from them.
enum QuantityText {
    /// For example `380 ms`, `18.4 s`, `4 m 12 s`, `4 h 22 m`, `6 d 3 h`.
    static func duration(_ duration: Duration) -> String {
        let milliseconds = duration.wholeNanoseconds / 1_000_000
        let seconds = milliseconds / 1000
        switch seconds {
        case 0 where milliseconds == 0: return duration == .zero ? "0\u{A0}s" : "<\u{A0}1\u{A0}ms"
        case 0: return "\(milliseconds)\u{A0}ms"
        case ..<100: return "\(seconds).\(milliseconds % 1000 / 100)\u{A0}s"
        case ..<3600: return "\(seconds / 60)\u{A0}m \(seconds % 60)\u{A0}s"
        case ..<172_800: return "\(seconds / 3600)\u{A0}h \(seconds / 60 % 60)\u{A0}m"
        default: return "\(seconds / 86_400)\u{A0}d \(seconds / 3600 % 24)\u{A0}h"
        }
    }

    /// A configured duration: `60 s`, not `60.0 s`.
    static func setting(_ duration: Duration) -> String {
        let seconds = duration.wholeNanoseconds / 1_000_000_000
        let isInteger = duration == .seconds(Int64(seconds)) && seconds < 100
        return isInteger ? "\(seconds)\u{A0}s" : Self.duration(duration)
    }

    /// Like `duration`, without tenths of a second.
    static func age(_ duration: Duration) -> String {
        let seconds = duration.wholeNanoseconds / 1_000_000_000
        return seconds < 100 ? "\(seconds)\u{A0}s" : Self.duration(.seconds(Int64(seconds)))
    }

    /// Three digits and a decimal unit: `6.72 GB`.
    static func bytes(_ count: UInt64) -> String {
        guard count >= 1000 else { return "\(count)\u{A0}B" }
        var (scaled, unit) = (count, 0)
        while scaled >= 1_000_000 { (scaled, unit) = (scaled / 1000, unit + 1) }
        let (integer, thousandths) = (scaled / 1000, scaled % 1000)
        let fraction =
            switch integer {
            case ..<10: ".\(thousandths / 100)\(thousandths / 10 % 10)"
            case ..<100: ".\(thousandths / 100)"
            default: ""
            }
        return "\(integer)\(fraction)\u{A0}\(["kB", "MB", "GB", "TB", "PB", "EB"][unit])"
    }

    /// `3 recordings`, `1 recording`.
    static func count(_ count: Int, _ noun: String) -> String {
        "\(count) \(noun)\(count == 1 ? "" : "s")"
    }

    /// An integral percentage, at most 1000 %.
    static func percent(_ ratio: Double) -> String {
        "\(Int((ratio > 0 ? min(ratio, 10) : 0) * 100 + 0.5)) %"
    }

    /// A time in UTC with seconds; without the date when it is that of `today`.
    static func time(_ wall: WallTime, today: WallTime? = nil) -> HTML {
        let iso = UTCTime(wall).iso8601
        let (date, clock) = (iso.prefix(10), iso.dropFirst(11).dropLast())
        let isToday = today.map { UTCTime($0).iso8601.hasPrefix(date) } ?? false
        return .element("time", ["datetime": iso], isToday ? "\(clock)" : "\(date) \(clock)")
    }
}

/// How good or bad a state is; it is shown as a colour, a mark and a word.
enum Severity: String {
    /// The desired state.
    case well
    /// In transition to another state, as expected.
    case busy
    case warn
    case bad
    /// No statement.
    case quiet

    var mark: HTML {
        let mark: HTML =
            switch self {
            case .well: "✓"
            case .busy: "●"
            case .warn: "!"
            case .bad: "✕"
            case .quiet: "○"
            }
        return .element("span", ["class": "mark", "aria-hidden": "true"], mark)
    }

    /// A word in the colour, with the mark.
    func badge(_ word: String) -> HTML {
        .element("span", ["class": "badge \(rawValue)"], mark, HTML(word))
    }
}
