extension Unicode.Scalar {
    /// Whether a terminal or a browser would obey it instead of showing it, in text that somebody else has written.
    ///
    /// Control characters (C0 with ESC, DEL and C1), line and paragraph separators, and formats: among them all that turn
    /// the direction of the text. The joiners stay, which emoji and some scripts need.
    package var isInvisibleCommand: Bool {
        if value < 0x20 || value == 0x7F { return true }
        guard value >= 0x80, value != 0x200C, value != 0x200D else { return false }
        switch properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator: return true
        default: return false
        }
    }

    /// As JSON and logfmt write it in quotes: four hexadecimal digits, or eight in two halves.
    package var hexadecimalEscape: String {
        String(self).utf16.map { unit in
            let digits = String(unit, radix: 16)
            return "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
        }.joined()
    }
}

/// The text with escapes such as `\u001b` in the place of invisible commands; for text that is neither JSON nor logfmt.
package func visible(_ text: String) -> String {
    guard text.unicodeScalars.contains(where: \.isInvisibleCommand) else { return text }
    return text.unicodeScalars.map { $0.isInvisibleCommand ? $0.hexadecimalEscape : String($0) }
        .joined()
}

/// The text, of at most `maxBytes`: without its middle where it is longer, since errors stand at the end.
package func shortened(_ text: String, to maxBytes: Int) -> String {
    guard text.utf8.count > maxBytes, maxBytes > 8 else { return text }
    let tail = (maxBytes - 3) / 4
    var start = text.utf8.index(text.startIndex, offsetBy: maxBytes - 3 - tail)
    var end = text.utf8.index(text.endIndex, offsetBy: -tail)
    while start.samePosition(in: text.unicodeScalars) == nil { text.utf8.formIndex(before: &start) }
    while end.samePosition(in: text.unicodeScalars) == nil { text.utf8.formIndex(after: &end) }
    return text[..<start] + "…" + text[end...]
}
