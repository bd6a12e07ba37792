import Dispatch
package import Posix
import Synchronization

/// The state of the catalogue's files, as the journal finds it.
package enum CatalogueFileEvent: Equatable, Sendable {
    /// They were removed, moved or replaced, and have been opened again.
    case reopened(CatalogueLoss)
    /// They cannot be opened again yet: changes are kept in the file that is open, which has no name any more.
    case lost
    /// The files that are open are in their place again.
    case restored
}

/// Applies changes to the catalogue, in order, on its own thread: no recording waits for it.
///
/// Changes that cannot be applied now, because the disk is full or another program holds the lock, are kept and retried.
package final class CatalogueJournal: Sendable {
    private let catalogue: Catalogue
    private let log: Log
    private let limiter = LogLimiter()
    private let filesLimiter = LogLimiter()
    private let onFileEvent: @Sendable (CatalogueFileEvent) -> Void
    private let interval: Duration
    private let state = Mutex(State())
    /// Signalled for each change, and for the end.
    private let arrived = DispatchSemaphore(value: 0)
    private let hasEnded = DispatchSemaphore(value: 0)

    private struct State {
        var changes: [CatalogueChange] = []
        var dropped = 0
        /// Why the changes wait.
        var failure: CatalogueError?
        var isClosing = false
        var lastID: Int64 = 0
    }

    /// Changes that wait; beyond, the oldest are dropped: the next start reconstructs them from the files.
    private static let maxChanges = 100_000

    /// Starts its thread; `interval` is between two attempts to apply changes, and between two checks of the catalogue's files.
    package init(
        _ catalogue: Catalogue,
        _ log: Log,
        interval: Duration = .seconds(2),
        onFileEvent: @escaping @Sendable (CatalogueFileEvent) -> Void = { _ in }
    ) throws(SystemError) {
        (self.catalogue, self.log, self.interval) = (catalogue, log, interval)
        self.onFileEvent = onFileEvent
        // A catalogue that cannot be read is reported where it is opened.
        let newestID = (try? catalogue.newestID()) ?? 0
        state.withLock { $0.lastID = newestID }
        try DetachedThread.start(named: "journal") { [self] in run() }
    }

    /// An id for a new recording, larger than all before: microseconds since 1970.
    ///
    /// After the clock was set back, it is the last id plus a random number, because another recorder may use the same catalogue.
    package func newRecordingID(at now: WallTime = .now()) -> Int64 {
        state.withLock { state in
            let now = min(Int64(clamping: now.nanoseconds / 1000), CatalogueRecording.maxID)
            let next = state.lastID + (now > state.lastID ? 1 : .random(in: 1...4096))
            state.lastID = max(now, next)
            return state.lastID
        }
    }

    package func append(_ change: CatalogueChange) {
        state.withLock { state in
            if state.changes.count == Self.maxChanges {
                state.changes.removeFirst()
                state.dropped += 1
            }
            state.changes.append(change)
        }
        arrived.signal()
    }

    /// Applies the remaining changes, in one more attempt, and closes the catalogue.
    ///
    /// - Throws: `.connectionPoolExhausted`, or why a change could not be applied; the next start reconstructs it from the files.
    package func close(until deadline: BootTime) throws(CatalogueError) {
        state.withLock { $0.isClosing = true }
        arrived.signal()
        _ = hasEnded.wait(timeout: .now() + deadline.since(.now()).forDispatch)
        try catalogue.close(until: deadline)
        let (waiting, failure) = state.withLock { ($0.changes.count, $0.failure) }
        guard waiting == 0 else { throw failure ?? .connectionPoolExhausted }
    }

    private func run() {
        var (isClosing, isLost) = (false, false)
        repeat {
            _ = arrived.wait(timeout: .now() + interval.forDispatch)
            isClosing = state.withLock { $0.isClosing }
            checkFiles(&isLost)
            applyAll()
        } while !isClosing
        hasEnded.signal()
    }

    /// `isLost` is the result of the last check.
    private func checkFiles(_ isLost: inout Bool) {
        let path = catalogue.path ?? ""
        do throws(CatalogueError) {
            let loss = try catalogue.checkFiles()
            if let loss {
                onFileEvent(.reopened(loss))
                let fields: KeyValuePairs = ["path": path, "cause": loss.rawValue]
                log(
                    .warn,
                    "Catalogue opened again: its file was removed, moved or replaced",
                    fields
                )
            } else if isLost {
                onFileEvent(.restored)
                log(.info, "Catalogue's file is in its place again", ["path": path])
            }
            if loss != nil || isLost { filesLimiter.reset() }
            isLost = false
        } catch {
            isLost = true
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

    private func applyAll() {
        let (batch, dropped) = state.withLock { state in
            defer { state.dropped = 0 }
            return (state.changes, state.dropped)
        }
        if dropped > 0 {
            log(
                .error,
                "Catalogue changes dropped: too many wait",
                ["count": "\(dropped)"],
                limitedBy: limiter,
                condition: ""
            )
        }
        guard !batch.isEmpty else { return }
        let done = apply(batch)
        // Only this thread removes applied changes; `append` may have dropped the oldest meanwhile, which were in the batch.
        state.withLock { $0.changes.removeFirst(min(max(0, done - $0.dropped), $0.changes.count)) }
    }

    /// Applies all of them in one transaction, or, if that fails, one by one.
    ///
    /// - Returns: how many are applied, or can never be.
    private func apply(_ batch: [CatalogueChange]) -> Int {
        do throws(CatalogueError) {
            try catalogue.apply(batch)
            return batch.count
        } catch {
            guard batch.count > 1 || error.isTransient else {
                log(.error, "Change not applied to the catalogue", ["error": "\(error)"])
                return 1
            }
            guard !error.isTransient else {
                state.withLock { $0.failure = error }
                log(
                    .error,
                    "Catalogue changes wait",
                    ["count": "\(batch.count)", "error": "\(error)"],
                    limitedBy: limiter,
                    condition: "\(error)"
                )
                return 0
            }
        }
        var done = 0
        for change in batch {
            guard apply([change]) == 1 else { break }
            done += 1
        }
        return done
    }
}

extension CatalogueError {
    /// Whether the same call may succeed later.
    fileprivate var isTransient: Bool {
        if self == .closed { return true }  // While its files are opened again.
        return switch reason {
        case .busy, .full, .readonly, .io, .corrupt: true
        case .other: false
        }
    }
}
