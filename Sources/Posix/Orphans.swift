import CLinux
import Glibc
import Synchronization

/// Programs whose parents have ended: process 1, or a subreaper, gets them as children, and has to reap them.
package enum Orphans {
    /// Whether every child that this process did not start descends from one that it did.
    private static let areOwn = Atomic(false)
    private static let isReaper = Atomic(false)

    /// Whether the orphans of this process's children become its own.
    static var comeHere: Bool { isReaper.load(ordering: .relaxed) }

    /// Makes this process the parent of orphans among its descendants, with `PR_SET_CHILD_SUBREAPER`.
    ///
    /// As process 1 it is that already, and gets those of `docker exec` and the like as well. A process that has children
    /// before it starts any, as after a shell's `exec`, gets theirs.
    package static func adopt() {
        var information = unsafe siginfo_t()
        let hasNoChildren =
            unsafe waitid(P_ALL, 0, &information, WEXITED | WNOHANG | WNOWAIT) == -1
        let isFirst = getpid() == 1
        let isSubreaper = !isFirst && clinux_become_subreaper() == 0
        isReaper.store(isFirst || isSubreaper, ordering: .relaxed)
        areOwn.store(isSubreaper && hasNoChildren, ordering: .relaxed)
    }

    /// Reaps those that have ended, with `waitid(2)`; their number.
    ///
    /// Never waits. Children that this process started keep their status for whoever waits for them. While such a one has ended and
    /// nobody has waited yet it may stand in front of orphans: they are reaped the next time.
    @discardableResult
    package static func reap() -> Int {
        var count = 0
        while OwnChildren.reapOrphan() { count += 1 }
        endStrays()
        return count
    }

    /// Ends everything that children of this process have started and left, for the end of this process.
    package static func endAll() {
        Descendants.findAll().signal(SIGKILL)
        if areOwn.load(ordering: .relaxed) { strays().signal(SIGKILL) }
    }

    /// The children of this process that have not ended.
    private static func strays() -> [ProcessEntry] {
        let own = getpid()
        return ProcessEntry.all().filter { $0.parent == own && !$0.hasEnded }
    }

    /// Ends orphans that carry no mark, having given up their environment: once no child runs that could need them.
    private static func endStrays() {
        guard areOwn.load(ordering: .relaxed), OwnChildren.areGone else { return }
        var information = unsafe siginfo_t()
        guard unsafe waitid(P_ALL, 0, &information, WEXITED | WNOHANG | WNOWAIT) == 0 else {
            return
        }
        let strays = strays()
        // One may have been started meanwhile.
        if OwnChildren.areGone { strays.signal(SIGKILL) }
    }
}
