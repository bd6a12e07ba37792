import Posix
import Synchronization

/// The recordings that were cut short, each waiting for its stream to go on.
final class Continuations: Sendable {
    /// How long a recording may have been cut short and still go on; after that a new one begins.
    let window: Duration
    private let latest = Mutex<[String: Continuation]>([:])

    init(within window: Duration) {
        self.window = window
    }

    /// Adds one, unless a newer recording of its stream is there.
    func add(_ continuation: Continuation) {
        latest.withLock { latest in
            let known = latest[continuation.stream]
            if let known, known.recordingID > continuation.recordingID { return }
            latest[continuation.stream] = continuation
        }
    }

    /// Ends the recording of `stream` for good: what comes next is a new one.
    func remove(_ stream: String) {
        latest.withLock { $0[stream] = nil }
    }

    /// What a recording of `stream` that begins at `now` goes on with; nothing that began `limit` ago.
    func find(
        _ stream: String,
        at now: UTCTime,
        _ boot: BootStamp? = .now(),
        lastingLessThan limit: Duration? = nil
    ) -> Continuation? {
        let found = latest.withLock { $0[stream] }
        guard let found, isRecent(found, at: now, boot), found.nextPart <= Self.mostParts else {
            return nil
        }
        let age = Duration.seconds(now.seconds.addingClamped(-found.startedAt.seconds))
        return limit.map { age < $0 } ?? true ? found : nil
    }

    /// Whether it was cut short within the window: by the clock of this boot, if it was in this, and else by the calendar.
    private func isRecent(_ one: Continuation, at now: UTCTime, _ boot: BootStamp?) -> Bool {
        if let endedBoot = one.endedBoot, let time = boot?.since(endedBoot) {
            return time <= window
        }
        let seconds = now.seconds.addingClamped(-one.endedAt.seconds)
        return .seconds(Int(clamping: seconds.magnitude)) <= window
    }

    /// Parts of one recording; a source that begins a new one every second must not do so for ever.
    static let mostParts = 999
}
