import Dispatch
import Posix
import Synchronization

/// What a journal finds of the catalogue's files while it runs.
enum CatalogueFileEvent: Equatable, Sendable {
    /// They were removed, moved or replaced, and have been opened again.
    case reopened(CatalogueLoss)
    /// They cannot be opened again yet: what happens is kept in the file that is open, which has no name any more.
    case lost
}

/// Enters what happens to recordings into the catalogue, in its order, on a thread of its own: no recording waits for it.
///
/// What cannot be entered now, because the disk is full or another program holds the lock, is kept and tried again.
final class CatalogueJournal: Sendable {
    private let catalogue: Catalogue
    private let log: Log
    private let limiter = LogLimiter()
    private let filesLimiter = LogLimiter()
    private let onFileEvent: @Sendable (CatalogueFileEvent) -> Void
    private let retryPause: Duration
    private let state = Mutex(State())
    /// Signalled for each new entry, and for the end.
    private let news = DispatchSemaphore(value: 0)
    private let hasEnded = DispatchSemaphore(value: 0)

    private struct State {
        var entries: [CatalogueEntry] = []
        var dropped = 0
        /// Why the entries wait.
        var failure: CatalogueError?
        var isClosing = false
        var lastID: Int64 = 0
    }

    /// Entries that wait; above, the oldest are dropped: the next start learns from the files what they said.
    static let mostEntries = 100_000

    init(
        _ catalogue: Catalogue,
        _ log: Log,
        retryPause: Duration = .seconds(2),
        onFileEvent: @escaping @Sendable (CatalogueFileEvent) -> Void = { _ in }
    ) throws(SystemError) {
        (self.catalogue, self.log, self.retryPause) = (catalogue, log, retryPause)
        self.onFileEvent = onFileEvent
        // A catalogue that cannot be read is reported where it is opened.
        let newestID = (try? catalogue.newestID()) ?? 0
        state.withLock { $0.lastID = newestID }
        try DetachedThread.start(named: "journal") { [self] in run() }
    }

    /// An id for a new recording, larger than those before: microseconds since 1970, or, after the clock was set back, a
    /// little more than the last, by a random number, as another recorder may use the same catalogue.
    func newRecordingID(at now: WallTime = .now()) -> Int64 {
        state.withLock { state in
            let now = min(Int64(clamping: now.nanoseconds / 1000), CatalogueRecording.maxID)
            let next = state.lastID + (now > state.lastID ? 1 : .random(in: 1...4096))
            state.lastID = max(now, next)
            return state.lastID
        }
    }

    func enter(_ entry: CatalogueEntry) {
        state.withLock { state in
            if state.entries.count == Self.mostEntries {
                state.entries.removeFirst()
                state.dropped += 1
            }
            state.entries.append(entry)
        }
        news.signal()
    }

    /// Enters what waits, once more, and closes the catalogue.
    ///
    /// - Throws: `.connectionPoolExhausted`, or why something could not be entered; the next start learns it from the files.
    func close(until deadline: BootTime) throws(CatalogueError) {
        state.withLock { $0.isClosing = true }
        news.signal()
        _ = hasEnded.wait(timeout: .now() + deadline.since(.now()).forDispatch)
        try catalogue.close(until: deadline)
        let (waiting, failure) = state.withLock { ($0.entries.count, $0.failure) }
        guard waiting == 0 else { throw failure ?? .connectionPoolExhausted }
    }

    private func run() {
        var isClosing = false
        repeat {
            // Not only for entries that wait: somebody may remove the catalogue's files.
            _ = news.wait(timeout: .now() + retryPause.forDispatch)
            isClosing = state.withLock { $0.isClosing }
            checkFiles()
            enterAll()
        } while !isClosing
        hasEnded.signal()
    }

    private func checkFiles() {
        let path = catalogue.path ?? ""
        do throws(CatalogueError) {
            guard let loss = try catalogue.checkFiles() else { return }
            onFileEvent(.reopened(loss))
            filesLimiter.reset()
            let fields: KeyValuePairs = ["path": path, "cause": loss.rawValue]
            log(.warn, "Catalogue opened again: its file was removed, moved or replaced", fields)
        } catch {
            onFileEvent(.lost)
            log(
                .error,
                "Catalogue's file was removed, moved or replaced, and cannot be opened again yet",
                ["path": path, "error": "\(error)"],
                limitedBy: filesLimiter,
                condition: "\(error)"
            )
        }
    }

    private func enterAll() {
        let (batch, dropped) = state.withLock { state in
            defer { state.dropped = 0 }
            return (state.entries, state.dropped)
        }
        if dropped > 0 {
            log(
                .error,
                "Catalogue entries dropped: too many wait",
                ["count": "\(dropped)"],
                limitedBy: limiter,
                condition: ""
            )
        }
        guard !batch.isEmpty else { return }
        let done = commit(batch)
        // Only this thread takes entries away; `enter` may have dropped the oldest meanwhile, which were in the batch.
        state.withLock { $0.entries.removeFirst(min(max(0, done - $0.dropped), $0.entries.count)) }
    }

    /// Commits all of them in one transaction, or, where that fails, one by one.
    ///
    /// - Returns: how many are done with: entered, or refused for good.
    private func commit(_ batch: [CatalogueEntry]) -> Int {
        do throws(CatalogueError) {
            try catalogue.enter(batch)
            return batch.count
        } catch {
            guard batch.count > 1 || error.mayPass else {
                log(.error, "Not entered into the catalogue", ["error": "\(error)"])
                return 1
            }
            guard !error.mayPass else {
                state.withLock { $0.failure = error }
                log(
                    .error,
                    "Catalogue entries wait",
                    ["count": "\(batch.count)", "error": "\(error)"],
                    limitedBy: limiter,
                    condition: "\(error)"
                )
                return 0
            }
        }
        var done = 0
        for entry in batch {
            guard commit([entry]) == 1 else { break }
            done += 1
        }
        return done
    }
}

extension CatalogueError {
    /// Whether the same call may succeed later.
    fileprivate var mayPass: Bool {
        if self == .closed { return true }  // While its files are opened again.
        return switch reason {
        case .busy, .full, .readonly, .io, .corrupt: true
        case .other: false
        }
    }
}
