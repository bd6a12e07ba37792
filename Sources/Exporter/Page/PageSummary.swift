/// The state of all recorders in one sentence: the page's heading, its title and its icon.
struct PageSummary {
    let sentence: String
    let tone: Tone

    /// `isBlind` when there may be recorders that the exporter does not see.
    init(_ names: [String], _ words: [RecorderWords], isBlind: Bool) {
        guard !names.isEmpty || !isBlind else {
            (sentence, tone) = ("No recorder can be seen", .warn)
            return
        }
        let rank: [Tone] = [.bad, .warn, .busy, .quiet, .well]
        tone = rank.first { tone in words.contains { $0.tone == tone } } ?? .quiet
        if let name = names.first, let only = words.first, names.count == 1 {
            sentence = "\(name) \(only.predicate)"
            return
        }
        let troubled = words.count { $0.tone == .bad || $0.tone == .warn }
        switch (names.count, troubled) {
        case (0, _): sentence = "No recorder yet"
        case (let all, 0): sentence = "\(all) recorders, all well"
        case (let all, 1): sentence = "1 of \(all) recorders needs a look"
        case (let all, let some): sentence = "\(some) of \(all) recorders need a look"
        }
    }

    /// A dot in the colour of the state, for the tab.
    var icon: String {
        let colour =
            switch tone {
            case .well: "1a7f4b"
            case .busy: "2f6fd0"
            case .warn: "b97700"
            case .bad: "c4342b"
            case .quiet: "80868f"
            }
        return
            "data:image/svg+xml,%3Csvg%20xmlns=%27http://www.w3.org/2000/svg%27%20viewBox=%270%200%2016%2016%27"
            + "%3E%3Ccircle%20cx=%278%27%20cy=%278%27%20r=%276%27%20fill=%27%23\(colour)%27/%3E%3C/svg%3E"
    }
}
