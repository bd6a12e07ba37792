import Glibc

/// Open-file-description locks (`fcntl(2)`, `F_OFD_SETLK`) over a whole file.
///
/// They belong to the open file, not to the process: the kernel drops one when the last descriptor and the last mapping
/// of that open file are gone, whatever killed the owner, and they are seen across containers and PID namespaces.
extension FileDescriptor {
    /// Takes the write lock without waiting; `false` when another open file holds a lock.
    package borrowing func tryLock() throws(SystemError) -> Bool {
        var request = wholeFile(F_WRLCK)
        do throws(SystemError) {
            try retrying("fcntl F_OFD_SETLK") { unsafe fcntl(rawValue, setLock, &request) }
            return true
        } catch {
            guard error.code == EAGAIN || error.code == EACCES else { throw error }
            return false
        }
    }

    /// Gives up the lock, although a mapping or another process may still have the open file.
    package borrowing func unlock() {
        var request = wholeFile(F_UNLCK)
        _ = unsafe fcntl(rawValue, setLock, &request)
    }

    /// Whether another open file holds the write lock on this file; needs read permission only.
    ///
    /// Asked for a read lock, which only a write lock excludes: whoever may read the file could hold a read lock on it.
    package borrowing func isLockedElsewhere() throws(SystemError) -> Bool {
        var request = wholeFile(F_RDLCK)
        try retrying("fcntl F_OFD_GETLK") { unsafe fcntl(rawValue, getLock, &request) }
        return request.l_type != Int16(F_UNLCK)
    }
}

/// `F_OFD_GETLK` and `F_OFD_SETLK` of `<fcntl.h>`, which the Glibc module leaves out.
private let getLock: CInt = 36
private let setLock: CInt = 37

private func wholeFile(_ type: CInt) -> flock {
    var lock = flock()
    lock.l_type = Int16(type)
    lock.l_whence = Int16(SEEK_SET)
    return lock
}
