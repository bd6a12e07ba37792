import Posix
import Synchronization

/// Logs what goes wrong with a stream when it is news: one that is off is asked for every few seconds, for days.
final class StreamTrouble: Sendable {
    /// After this time, what repeats itself is said again.
    static let patience = Duration.seconds(600)
    /// Texts that are remembered; all are forgotten when there are more.
    private static let mostTexts = 32

    private let said = Mutex<[String: BootTime]>([:])
    private let saidWhileRecording = Mutex<[String: BootTime]>([:])

    /// Whether nobody was told of it lately, who is told now.
    func isNews(_ text: String, at now: BootTime = .now()) -> Bool {
        // libcurl says how long a connection took to fail.
        let text = text.replacing(#/ after [0-9]+ ms/#, with: "")
        return said.withLock { Self.isNews(text, in: &$0, at: now) }
    }

    /// The same of a condition that lasts while the stream delivers; `isOver` does not end it.
    func isNewsWhileRecording(_ text: String, at now: BootTime = .now()) -> Bool {
        saidWhileRecording.withLock { Self.isNews(text, in: &$0, at: now) }
    }

    private static func isNews(
        _ text: String,
        in said: inout [String: BootTime],
        at now: BootTime
    ) -> Bool {
        if let last = said[text], now.since(last) < patience { return false }
        if said.count >= mostTexts { said = [:] }
        said[text] = now
        return true
    }

    /// Says that the stream delivers: whatever goes wrong next is news.
    func isOver() {
        said.withLock { $0 = [:] }
    }
}
