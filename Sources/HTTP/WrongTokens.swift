package import Posix
import Synchronization

/// Logs wrong bearer tokens at a bounded rate: the first at once, later ones every ten minutes, with their number.
///
/// Whoever guesses tokens must be seen, and must not fill the log.
package final class WrongTokens: Sendable {
    private static let interval = Duration.seconds(600)

    private struct State {
        var unlogged = 0
        var nextLine: BootTime?
    }

    private let log: Log
    private let state = Mutex(State())

    package init(_ log: Log) {
        self.log = log
    }

    /// Notes a request that was refused; whether it showed a token, and so a wrong one.
    package func note(_ request: Request, at now: BootTime = .now()) -> Bool {
        guard request.header("Authorization") != nil else { return false }
        let count: Int? = state.withLock { state in
            state.unlogged += 1
            guard state.nextLine.map({ now >= $0 }) ?? true else { return nil }
            defer { state = State(nextLine: now.advanced(by: Self.interval)) }
            return state.unlogged
        }
        if let count {
            let fields: KeyValuePairs = [
                "count": "\(count)", "peer": request.peer, "path": "\(request.path.prefix(100))",
            ]
            log(.warn, "Wrong bearer token", fields)
        }
        return true
    }
}
