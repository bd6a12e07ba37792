import Media
import Posix
import Synchronization

/// Notices that the file that is being recorded to was removed, renamed or replaced; the recording's thread only reads a flag.
final class PartWatch: Sendable {
    private let watched = Mutex<PartIdentity?>(nil)
    private let lost = Atomic(false)

    /// Whether the file that is watched has lost its name.
    var isLost: Bool { lost.load(ordering: .acquiring) }

    /// Watches `part` from now on; `nil` before its name is taken away for good reason.
    func watch(_ part: PartIdentity?) {
        watched.withLock { watched in
            watched = part
            lost.store(false, ordering: .releasing)
        }
    }

    /// Looks at the file, without a lock: on a mount that hangs, this does.
    func look() {
        // A mount that fails is not a file that is gone.
        guard let part = watched.withLock({ $0 }), (try? part.isInPlace()) == false else { return }
        watched.withLock { watched in
            if watched == part { lost.store(true, ordering: .releasing) }
        }
    }
}
