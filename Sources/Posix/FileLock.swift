import Glibc

/// Locks of `flock(2)`: they belong to the open file, and the kernel drops them with its last descriptor.
///
/// Independent of the locks of `fcntl(2)` (see `tryLock`), and what `flock(1)` takes, so a script can hold one.
extension FileDescriptor {
    /// Takes the exclusive lock without waiting; `false` when another open file holds it.
    package borrowing func tryExclusiveLock() throws(SystemError) -> Bool {
        do throws(SystemError) {
            try retrying("flock") { flock(rawValue, LOCK_EX | LOCK_NB) }
            return true
        } catch {
            guard error.code == EWOULDBLOCK else { throw error }
            return false
        }
    }
}
