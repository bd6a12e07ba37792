import Glibc

/// Programs whose parents have gone: process 1 gets them as children, and they stay as zombies until it reaps them.
package enum Orphans {
    /// Reaps those that have ended, with `waitid(2)`; their number.
    ///
    /// Children that this process started keep their status for whoever waits for them. While such a one has ended and
    /// nobody has waited yet it may stand in front of orphans: they are reaped the next time.
    @discardableResult
    package static func reap() -> Int {
        var count = 0
        while OwnChildren.withLock({ reapNext(sparing: $0) }) { count += 1 }
        return count
    }

    /// Whether there was one.
    private static func reapNext(sparing own: Set<pid_t>) -> Bool {
        var information = unsafe siginfo_t()
        let look = WEXITED | WNOHANG | WNOWAIT
        guard unsafe waitid(P_ALL, 0, &information, look) == 0 else { return false }
        // `si_pid` of <signal.h>, which is a macro; 0 when no child has ended.
        let child = unsafe information._sifields._sigchld.si_pid
        guard child != 0, !own.contains(child) else { return false }
        return unsafe waitid(P_PID, id_t(child), &information, WEXITED | WNOHANG) == 0
    }
}
