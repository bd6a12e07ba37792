/// How good or bad something is; what is shown in a colour also has a mark and a word.
enum Tone: String {
    /// As it should be.
    case well
    /// On its way somewhere, as it should be.
    case busy
    case warn
    case bad
    /// Nothing to say about it.
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

    /// A word in its colour, with its mark.
    func badge(_ word: String) -> HTML {
        .element("span", ["class": "badge \(rawValue)"], mark, HTML(word))
    }
}
