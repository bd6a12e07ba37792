import Posix
import Testing

@testable import Recorder

@Suite("What goes wrong with a stream is said when it is news")
struct StreamTroubleTests {
    private let trouble = StreamTrouble()

    @Test("what repeats is said again after ten minutes")
    func repeated() {
        #expect(trouble.isNews("HTTP status 404", at: time(0)))
        #expect(!trouble.isNews("HTTP status 404", at: time(599)))
        #expect(trouble.isNews("HTTP status 404", at: time(600)))
        #expect(!trouble.isNews("HTTP status 404", at: time(601)))
    }

    @Test(
        "another trouble is news, another time that it took is not",
        arguments: [
            ("HTTP status 404", "HTTP status 403", true), ("a", "b", true), ("a", "a", false),
            (
                "Failed to connect to 10.0.0.1 port 1 after 0 ms: refused",
                "Failed to connect to 10.0.0.1 port 1 after 12 ms: refused", false
            ),
        ]
    )
    func other(_ first: String, _ second: String, isNews: Bool) {
        #expect(trouble.isNews(first, at: time(0)))
        #expect(trouble.isNews(second, at: time(1)) == isNews)
        #expect(!trouble.isNews(first, at: time(2)), "each has its own time")
    }

    @Test("once the stream has delivered, the same is news again")
    func over() {
        #expect(trouble.isNews("HTTP status 404", at: time(0)))
        trouble.isOver()
        #expect(trouble.isNews("HTTP status 404", at: time(1)))
    }

    private func time(_ seconds: Double) -> BootTime {
        BootTime(nanoseconds: 1_000_000_000).advanced(by: .seconds(seconds))
    }
}
