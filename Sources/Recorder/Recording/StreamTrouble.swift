import Posix
import Synchronization

/// Logs what goes wrong with a stream when it is news: one that is off is asked for every few seconds, for days.
final class StreamTrouble: Sendable {
    /// After this time, what repeats itself is said again.
    static let patience = Duration.seconds(600)
    /// Texts that are remembered; all are forgotten when there are more.
    private static let mostTexts = 32

    private let said = Mutex<[String: BootTime]>([:])

    /// Whether nobody was told of it lately, who is told now.
    func isNews(_ text: String, at now: BootTime = .now()) -> Bool {
        // libcurl says how long a connection took to fail.
        let text = text.replacing(#/ after [0-9]+ ms/#, with: "")
        return said.withLock { said in
            if let last = said[text], now.since(last) < Self.patience { return false }
            if said.count == Self.mostTexts { said = [:] }
            said[text] = now
            return true
        }
    }

    /// Says that the stream delivers: whatever goes wrong next is news.
    func isOver() {
        said.withLock { $0 = [:] }
    }
}
